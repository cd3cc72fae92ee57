"""The parts on the way of a request: the pipeline, its record, and the status afterwards."""

from __future__ import annotations

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.rate_limiter import RateLimiter
from gateway.coalescing.rules.failure_memory import MemoryTimes
from gateway.edits.call_budget import CallBudget
from gateway.edits.first_calls import FirstCalls
from gateway.edits.flight_result import log_facts
from gateway.edits.follow_other_process import Follower
from gateway.edits.forward import Forwarder
from gateway.edits.join import Coalescer
from gateway.edits.pipeline import FingerprintScope, Pipeline
from gateway.edits.purchase import Buyer
from gateway.edits.result_cache import ResultCache
from gateway.ledger.budget_service import BudgetService
from gateway.queries.request_status import RequestStatus
from gateway.runtime.process_context import ProcessContext
from gateway.runtime.services import CacheServices, CoalescingServices, UpstreamServices
from gateway.telemetry.usage_recorder import UsageRecorder
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import SpoolMemory
from gateway.upstream.client import UpstreamClient


class EditServices:
    """The way of a request, its record, and its status afterwards."""

    def __init__(
        self,
        context: ProcessContext,
        authenticator: Authenticator,
        upstream: UpstreamServices,
        cache: CacheServices,
        coalescing: CoalescingServices,
        budgets: BudgetService,
    ) -> None:
        settings = context.settings
        result_cache = ResultCache(
            results=cache.results,
            invalidation=cache.invalidation,
            now_ms=context.clock,
            ttl_seconds=settings.cache.ttl,
        )
        buyer = _buyer(context, upstream, cache, result_cache, coalescing, budgets)
        coalescer = _coalescer(context, coalescing, buyer)
        self.pipeline = _pipeline(context, authenticator, upstream, result_cache, coalescer)
        self.recorder = UsageRecorder(
            database=context.database,
            metrics=context.metrics,
            log=context.log,
            zone=settings.zone,
            now_ms=context.clock,
        )
        self.request_status = RequestStatus(
            database=context.database,
            recorder=self.recorder,
            coalescer=coalescer,
            results=cache.results,
            owner_id=context.owner.id,
            now_ms=context.clock,
            silent_seconds=settings.state.lease_seconds,
        )


def _buyer(
    context: ProcessContext,
    upstream: UpstreamServices,
    cache: CacheServices,
    result_cache: ResultCache,
    coalescing: CoalescingServices,
    budgets: BudgetService,
) -> Buyer:
    settings, metrics, log = context.settings, context.metrics, context.log
    return Buyer(
        cache=result_cache,
        limiter=upstream.limiter,
        budget=CallBudget(
            budgets=budgets,
            upstream=settings.upstream.name,
            prices=context.prices,
            implausible_cost_nanos=settings.upstream.implausible_cost_usd,
            metrics=metrics,
            log=log,
            facts=settings.upstream.adapter.facts,
        ),
        leases=coalescing.leases,
        follower=Follower(
            lease_watcher=coalescing.lease_watcher,
            results=cache.results,
            log=log,
            now_ms=context.clock,
        ),
        first_calls=FirstCalls(
            enabled=settings.upstream.first_call_alone,
            prices=context.prices,
            upstream=settings.upstream.name,
            leases=coalescing.leases,
            lease_watcher=coalescing.lease_watcher,
            zone=settings.zone,
            now_ms=context.clock,
            most_waiting=settings.upstream.max_waiting,
            wait_seconds=settings.upstream.queue_seconds,
        ),
        forwarder=_forwarder(context, upstream.client),
        memory=MemoryTimes(
            settings.cache.failure_memory_seconds, settings.cache.refusal_memory_seconds
        ),
        metrics=metrics,
        log=log,
        now_ms=context.clock,
        spans=context.spans,
    )


def _forwarder(context: ProcessContext, client: UpstreamClient) -> Forwarder:
    upstream = context.settings.upstream
    return Forwarder(
        upstream=client,
        upstream_name=upstream.name,
        timeout_seconds=upstream.timeout_seconds,
        max_attempts=upstream.max_attempts,
        uncharged_statuses=upstream.uncharged_statuses,
        cost_path=upstream.cost_path,
        implausible_cost_nanos=upstream.implausible_cost_usd,
        metrics=context.metrics,
        log=context.log,
        spans=context.spans,
        adapter=upstream.adapter,
        paths={"edits": upstream.edits_path, "generations": upstream.generations_path},
    )


def _coalescer(context: ProcessContext, coalescing: CoalescingServices, buyer: Buyer) -> Coalescer:
    return Coalescer(
        flights=coalescing.flights,
        buy=buyer.buy,
        client_wait_seconds=context.settings.server.client_wait_seconds,
        now_ms=context.clock,
        spans=context.spans,
        on_unattended=lambda request, result: context.log.info(
            "a flight ended after its client had left", **log_facts(request, result)
        ),
    )


def _pipeline(
    context: ProcessContext,
    authenticator: Authenticator,
    upstream: UpstreamServices,
    result_cache: ResultCache,
    coalescer: Coalescer,
) -> Pipeline:
    settings, limits, server = context.settings, context.settings.limits, context.settings.server
    return Pipeline(
        authenticator=authenticator,
        rates=RateLimiter(context.database),
        catalogue=upstream.catalogue,
        adapter=settings.upstream.adapter,
        cache=result_cache,
        coalescer=coalescer,
        limits=UploadLimits(
            max_body_bytes=limits.max_body_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_pixels=limits.max_image_pixels,
            picture_formats=settings.upstream.picture_formats,
        ),
        spool_memory=SpoolMemory(server.spool_bytes),
        spool_folder=server.spool_folder or None,
        scope=FingerprintScope(
            level=settings.cache.scope,
            upstream=settings.upstream.target,
            generations=settings.cache.generations,
            previous_upstream=settings.upstream.name,
            facts=settings.upstream.adapter.facts,
        ),
        obey_cache_control=settings.cache.obey_cache_control,
        heartbeat_seconds=server.stream_heartbeat_seconds,
        now_ms=context.clock,
    )
