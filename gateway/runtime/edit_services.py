"""The parts on the way of a request: the pipeline, its record, and the status afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.rate_limiter import RateLimiter
from gateway.accounts.rules.end_users import Pseudonyms
from gateway.coalescing.rules.failure_memory import MemoryTimes
from gateway.edits.call_budget import CallBudget
from gateway.edits.edit_request import Incoming
from gateway.edits.first_calls import FirstCalls
from gateway.edits.flight_result import log_facts
from gateway.edits.follow_other_process import Follower
from gateway.edits.forward import Forwarder
from gateway.edits.lead_or_follow import Coalescer
from gateway.edits.pipeline import FingerprintScope, Pipeline
from gateway.edits.purchase import Buyer
from gateway.edits.quote import Quoter
from gateway.edits.result_cache import ResultCache
from gateway.edits.upstream import Upstream
from gateway.ledger.budget_service import BudgetService
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.queries.request_status import RequestStatus
from gateway.runtime.process_context import ProcessContext
from gateway.runtime.services import CacheServices, CoalescingServices, UpstreamServices
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.usage_recorder import UsageRecorder
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import SpoolMemory
from gateway.upstream.catalogues import Catalogues
from gateway.upstream.connections import open_tls
from gateway.upstream.picture_fetcher import PictureFetcher

_FETCH_SECONDS = 60.0
"""The longest that the pictures of an answer are fetched."""


class EditServices:
    """The way of a request, its record, and its status afterwards."""

    def __init__(
        self,
        context: ProcessContext,
        authenticator: Authenticator,
        upstreams: Mapping[str, UpstreamServices],
        catalogues: Catalogues,
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
            on_stored=cache.gallery.stored,
        )
        of_edits = {
            name: _upstream(context, each, coalescing, budgets) for name, each in upstreams.items()
        }
        buyer = _buyer(context, of_edits, cache, result_cache, coalescing)
        coalescer = _coalescer(context, coalescing, buyer)
        cache.invalidation.on_heard = coalescer.drop_result
        quoter = Quoter(
            coalescer=coalescer,
            leases=coalescing.leases,
            upstreams=of_edits,
            budgets=budgets,
            silent_ms=int(settings.state.lease_seconds * 1000),
            now_ms=context.clock,
        )
        self.pipeline = _pipeline(
            context, authenticator, catalogues, of_edits, cache, result_cache, coalescer, quoter
        )
        self.recorder = UsageRecorder(
            database=context.database,
            metrics=context.metrics,
            log=context.log,
            zone=settings.zone,
            now_ms=context.clock,
            most_end_users=settings.accounts.max_end_users,
            on_reuse=cache.gallery.reused,
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

    async def serve(self, caller: Caller, incoming: Incoming, record: RequestRecord) -> None:
        """The pipeline of a caller whom this process itself names, with the record of it.

        Raises Refusal.
        """
        self.recorder.begin(record)
        try:
            await self.pipeline.serve_caller(caller, incoming, record)
        except Refusal as refusal:
            record.refuse(refusal)
            raise
        finally:
            self.recorder.record(record)


def _buyer(
    context: ProcessContext,
    upstreams: Mapping[str, Upstream],
    cache: CacheServices,
    result_cache: ResultCache,
    coalescing: CoalescingServices,
) -> Buyer:
    settings, log = context.settings, context.log
    return Buyer(
        cache=result_cache,
        upstreams=upstreams,
        leases=coalescing.leases,
        follower=Follower(
            lease_watcher=coalescing.lease_watcher,
            results=cache.results,
            log=log,
            now_ms=context.clock,
        ),
        memory=MemoryTimes(
            settings.cache.failure_memory_seconds, settings.cache.refusal_memory_seconds
        ),
        metrics=context.metrics,
        log=log,
        now_ms=context.clock,
        spans=context.spans,
    )


def _upstream(
    context: ProcessContext,
    services: UpstreamServices,
    coalescing: CoalescingServices,
    budgets: BudgetService,
) -> Upstream:
    settings = services.settings
    return Upstream(
        name=settings.name,
        fingerprint_name=settings.target,
        adapter=settings.adapter,
        picture_formats=settings.picture_formats,
        limiter=services.limiter,
        first_calls=FirstCalls(
            enabled=settings.first_call_alone,
            prices=context.prices,
            upstream=settings.name,
            leases=coalescing.leases,
            lease_watcher=coalescing.lease_watcher,
            zone=context.settings.zone,
            now_ms=context.clock,
            most_waiting=settings.max_waiting,
            wait_seconds=settings.queue_seconds,
        ),
        budget=CallBudget(
            budgets=budgets,
            upstream=settings.name,
            prices=context.prices,
            implausible_cost_nanos=settings.implausible_cost_usd,
            metrics=context.metrics,
            log=context.log,
            facts=settings.adapter.facts,
        ),
        forwarder=Forwarder(
            upstream=services.client,
            upstream_name=settings.name,
            timeout_seconds=settings.timeout_seconds,
            max_attempts=settings.max_attempts,
            uncharged_statuses=settings.uncharged_statuses,
            cost_path=settings.cost_path,
            implausible_cost_nanos=settings.implausible_cost_usd,
            metrics=context.metrics,
            log=context.log,
            spans=context.spans,
            adapter=settings.adapter,
            paths={"edits": settings.edits_path, "generations": settings.generations_path},
            section=context.settings.upstream_section(settings.name),
        ),
        pictures=PictureFetcher(
            hosts=settings.hosts,
            max_bytes=context.settings.limits.max_answer_bytes,
            seconds=min(_FETCH_SECONDS, settings.timeout_seconds),
            tls=open_tls(settings.ca_bundle) if settings.picture_hosts else None,
        ),
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
    catalogues: Catalogues,
    upstreams: Mapping[str, Upstream],
    cache: CacheServices,
    result_cache: ResultCache,
    coalescer: Coalescer,
    quoter: Quoter,
) -> Pipeline:
    settings, limits, server = context.settings, context.settings.limits, context.settings.server
    return Pipeline(
        pseudonyms=Pseudonyms(settings.accounts.end_users),
        authenticator=authenticator,
        rates=RateLimiter(context.database),
        catalogues=catalogues,
        upstreams=upstreams,
        cache=result_cache,
        coalescer=coalescer,
        quoter=quoter,
        limits=UploadLimits(
            max_body_bytes=limits.max_body_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_pixels=limits.max_image_pixels,
            picture_formats=settings.picture_formats,
        ),
        spool_memory=SpoolMemory(server.spool_bytes),
        spool_folder=server.spool_folder or None,
        scope=FingerprintScope(settings.cache.scope, settings.cache.generations),
        obey_cache_control=settings.cache.obey_cache_control,
        heartbeat_seconds=server.stream_heartbeat_seconds,
        links=cache.links,
        now_ms=context.clock,
        sandbox=context.sandbox,
    )
