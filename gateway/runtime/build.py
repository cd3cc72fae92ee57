"""The composition root: builds every part of a gateway from its settings.

Nothing is started here, and neither network nor file is touched. `lifespan.py` starts the parts.
"""

from __future__ import annotations

import os
import socket
import time
import uuid

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.rate_limiter import Lease, RateLimiter
from gateway.accounts.tables import rate_leases
from gateway.alerts import BudgetMonitor, WebhookDelivery
from gateway.alerts.webhook import Webhook
from gateway.cache.invalidation import Invalidation
from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.lease_watcher import LeaseWatcher
from gateway.coalescing.rules.failure_memory import MemoryTimes
from gateway.coalescing.single_flight import SingleFlight
from gateway.database.clock import Clock
from gateway.database.database import Database, Transaction
from gateway.edits.call_budget import CallBudget
from gateway.edits.coalescer import Coalescer
from gateway.edits.flight_facts import log_facts
from gateway.edits.follow_other_process import Follower
from gateway.edits.forward import Forwarder
from gateway.edits.pipeline import FingerprintScope, Pipeline
from gateway.edits.purchase import Buyer
from gateway.edits.result_cache import ResultCache
from gateway.ledger.budget_service import BudgetService
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.model.edit import ModelFacts
from gateway.pricing.rules.quote import PriceCeilings
from gateway.queries.request_status import RequestStatus
from gateway.runtime.collectors import GaugeCollector
from gateway.runtime.container import (
    BudgetParts,
    CacheParts,
    CoalescingParts,
    Container,
    EditParts,
    OperationParts,
    UpstreamParts,
)
from gateway.runtime.context import Context
from gateway.runtime.durations import longest_flight_ms
from gateway.runtime.engines import (
    VERSION,
    open_database,
    open_results,
    open_spans,
    open_upstream,
)
from gateway.runtime.maintenance import StateMaintenance
from gateway.runtime.readiness import Readiness
from gateway.runtime.stored_catalogue import StoredCatalogue
from gateway.server.graceful_shutdown import GracefulShutdown
from gateway.settings import Settings
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, WorkerSlot
from gateway.telemetry.usage_recorder import UsageRecorder
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import SpoolMemory
from gateway.uploads.uploaded_file import digest
from gateway.upstream.limiter import UpstreamLimiter
from gateway.upstream.model_catalogue import Catalogue
from gateway.upstream.rules.circuit_breaker import CircuitBreaker
from gateway.upstream.rules.fair_queue import FairQueue


def build(
    settings: Settings,
    log: EventLog,
    worker_slot: WorkerSlot | None = None,
    clock: Clock | None = None,
) -> Container:
    """Build a gateway. Raises SettingsError where an engine can't be used."""
    context = _context(settings, log, worker_slot, clock or Clock())
    authenticator = Authenticator(settings.state.auth_stale_seconds)
    upstream = _upstream(context)
    cache = _cache(context)
    coalescing = _coalescing(context)
    budgets = _budgets(context)
    result_cache = _result_cache(context, cache)
    buyer = _buyer(context, upstream, cache, result_cache, coalescing, budgets.service)
    coalescer = _coalescer(context, coalescing, buyer)
    pipeline = _pipeline(context, authenticator, upstream.catalogue, result_cache, coalescer)
    edits = _edits(context, cache, pipeline, coalescer)
    operation = _operation(context, authenticator, upstream, cache, coalescing, edits.recorder)
    return Container(context, authenticator, upstream, cache, coalescing, budgets, edits, operation)


def _context(
    settings: Settings, log: EventLog, worker_slot: WorkerSlot | None, clock: Clock
) -> Context:
    return Context(
        settings=settings,
        log=log,
        metrics=Metrics(VERSION, worker_slot),
        spans=open_spans(settings),
        database=open_database(settings.state),
        clock=clock,
        owner=Owner(f"own_{uuid.uuid4().hex}", socket.gethostname(), os.getpid(), clock()),
    )


def _upstream(context: Context) -> UpstreamParts:
    settings, metrics, log = context.settings.upstream, context.metrics, context.log
    client = open_upstream(context.settings)
    limiter = UpstreamLimiter(
        queue=FairQueue(settings.max_connections, settings.max_waiting),
        queue_seconds=settings.queue_seconds,
        circuit=CircuitBreaker(settings.circuit_failures, settings.circuit_seconds),
        backoff_seconds=lambda: client.backoff_seconds,
        metrics=metrics,
        log=log,
    )
    stored = StoredCatalogue(context.database, context.clock, settings.name)
    catalogue = Catalogue(
        fetch=client.models,
        keep=stored.save,
        overrides=_model_overrides(context.settings),
        clock=time.monotonic,
        on_failure=lambda text: log.warning("catalogue", detail=text),
        on_models=metrics.learn_models,
    )
    return UpstreamParts(client, limiter, catalogue, stored)


def _model_overrides(settings: Settings) -> dict[str, ModelFacts]:
    return {
        name: ModelFacts(name, model.edit_supported, model.max_reference_images, model.max_n)
        for name, model in settings.models.items()
        if (model.edit_supported, model.max_reference_images, model.max_n) != (None, None, None)
    }


def _cache(context: Context) -> CacheParts:
    results = open_results(context.settings)
    invalidation = Invalidation(
        database=context.database,
        results=results,
        now_ms=context.clock,
        interval_seconds=context.settings.state.refresh_seconds,
        on_failure=context.on_failure,
    )
    return CacheParts(results, invalidation)


def _coalescing(context: Context) -> CoalescingParts:
    settings = context.settings
    leases = Leases(
        database=context.database,
        owner_id=context.owner.id,
        now_ms=context.clock,
        max_age_ms=longest_flight_ms(settings),
        storing_ms=int(1000 * (2 * settings.cache.timeout_seconds + 1)),
        on_failure=context.on_failure,
    )
    lease_watcher = LeaseWatcher(
        database=context.database,
        now_ms=context.clock,
        silent_seconds=settings.state.lease_seconds,
    )
    return CoalescingParts(SingleFlight(), leases, lease_watcher)


def _budgets(context: Context) -> BudgetParts:
    monitor = _budget_monitor(context)
    service = BudgetService(
        database=context.database,
        owner_id=context.owner.id,
        zone=context.settings.zone,
        now_ms=context.clock,
        on_failure=context.on_failure,
        on_used_up=monitor.refused,
    )
    return BudgetParts(service, monitor)


def _budget_monitor(context: Context) -> BudgetMonitor:
    warnings = context.settings.warnings
    delivery = WebhookDelivery(
        database=context.database,
        webhook=Webhook(secret=warnings.secret.get_secret_value(), proxy=warnings.proxy),
        webhook_url=warnings.webhook_url.get_secret_value(),
        metrics=context.metrics,
        log=context.log,
        now_ms=context.clock,
        on_failure=context.on_failure,
    )
    return BudgetMonitor(
        database=context.database,
        delivery=delivery,
        percents=warnings.percents,
        zone=context.settings.zone,
        metrics=context.metrics,
        log=context.log,
        now_ms=context.clock,
        on_failure=context.on_failure,
    )


def _result_cache(context: Context, cache: CacheParts) -> ResultCache:
    return ResultCache(
        results=cache.results,
        invalidation=cache.invalidation,
        digest=digest,
        now_ms=context.clock,
        ttl_seconds=context.settings.cache.ttl,
    )


def _buyer(
    context: Context,
    upstream: UpstreamParts,
    cache: CacheParts,
    result_cache: ResultCache,
    coalescing: CoalescingParts,
    budgets: BudgetService,
) -> Buyer:
    settings, metrics, log, spans = context.settings, context.metrics, context.log, context.spans
    prices = PriceCeilings(
        settings.upstream.price_ceiling_usd,
        {
            name: model.price_ceiling_usd
            for name, model in settings.models.items()
            if model.price_ceiling_usd is not None
        },
    )
    follower = Follower(
        lease_watcher=coalescing.lease_watcher,
        results=cache.results,
        log=log,
        now_ms=context.clock,
    )
    return Buyer(
        cache=result_cache,
        limiter=upstream.limiter,
        budget=CallBudget(budgets=budgets, prices=prices, metrics=metrics, log=log),
        leases=coalescing.leases,
        follower=follower,
        forwarder=Forwarder(
            settings=settings, upstream=upstream.client, metrics=metrics, log=log, spans=spans
        ),
        memory=MemoryTimes(
            settings.cache.failure_memory_seconds, settings.cache.refusal_memory_seconds
        ),
        metrics=metrics,
        log=log,
        now_ms=context.clock,
        spans=spans,
    )


def _coalescer(context: Context, coalescing: CoalescingParts, buyer: Buyer) -> Coalescer:
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
    context: Context,
    authenticator: Authenticator,
    catalogue: Catalogue,
    result_cache: ResultCache,
    coalescer: Coalescer,
) -> Pipeline:
    settings = context.settings
    limits, server = settings.limits, settings.server
    return Pipeline(
        authenticator=authenticator,
        rates=RateLimiter(lease=_rate_lease(context.database)),
        catalogue=catalogue,
        cache=result_cache,
        coalescer=coalescer,
        limits=UploadLimits(
            max_body_bytes=limits.max_body_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_pixels=limits.max_image_pixels,
        ),
        spool_memory=SpoolMemory(server.spool_bytes),
        spool_folder=server.spool_folder or None,
        scope=FingerprintScope(
            settings.cache.scope, settings.upstream.name, settings.cache.generations
        ),
        digest=digest,
        heartbeat_seconds=server.stream_heartbeat_seconds,
        now_ms=context.clock,
    )


def _edits(
    context: Context, cache: CacheParts, pipeline: Pipeline, coalescer: Coalescer
) -> EditParts:
    settings, log = context.settings, context.log
    recorder = UsageRecorder(
        database=context.database,
        metrics=context.metrics,
        log=log,
        zone=settings.zone,
        now_ms=context.clock,
    )
    request_status = RequestStatus(
        database=context.database,
        recorder=recorder,
        coalescer=coalescer,
        results=cache.results,
        owner_id=context.owner.id,
        now_ms=context.clock,
        silent_seconds=settings.state.lease_seconds,
    )
    return EditParts(pipeline, recorder, request_status)


def _rate_lease(database: Database) -> Lease:
    async def lease(account: str, minute: int, want: int, limit: int) -> tuple[int, int]:
        async def take(tx: Transaction) -> rate_leases.RateLease:
            return await rate_leases.lease(tx, account, minute, want, limit)

        taken = await database.write(take)
        return taken.granted, taken.leased

    return lease


def _operation(
    context: Context,
    authenticator: Authenticator,
    upstream: UpstreamParts,
    cache: CacheParts,
    coalescing: CoalescingParts,
    recorder: UsageRecorder,
) -> OperationParts:
    flights = coalescing.flights
    readiness = Readiness(
        authenticator=authenticator,
        clock=context.clock,
        catalogue=upstream.catalogue,
        limiter=upstream.limiter,
        upstream=upstream.client,
        results=cache.results,
    )
    shutdown = GracefulShutdown(
        context.settings.server.drain_seconds,
        lambda: flights.in_flight,
        context.log,
        on_end=upstream.limiter.close,
        on_begin=coalescing.lease_watcher.stop_waiting,
    )
    return OperationParts(
        readiness=readiness,
        gauges=GaugeCollector(context, cache.results, flights, recorder, readiness),
        maintenance=StateMaintenance(context, coalescing.leases, cache.invalidation),
        shutdown=shutdown,
    )
