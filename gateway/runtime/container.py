"""The parts of a running gateway: the composition root. How they live is `lifespan.py`."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.rate_limiter import Lease, RateLimiter
from gateway.accounts.tables import rate_leases
from gateway.alerts import BudgetMonitor, WebhookDelivery
from gateway.alerts.webhook import Webhook
from gateway.cache.disk import DiskStore
from gateway.cache.invalidation import Invalidation
from gateway.cache.result_store import ResultStore
from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.lease_watcher import LeaseWatcher
from gateway.coalescing.single_flight import SingleFlight
from gateway.database import documents
from gateway.database.clock import Clock
from gateway.database.database import Database, Transaction
from gateway.database.sqlite import SqliteDatabase
from gateway.edits.coalescer import Coalescer
from gateway.edits.flight_result import FlightResult, landing_facts
from gateway.edits.follow_elsewhere import Follower
from gateway.edits.forward import Forwarder
from gateway.edits.pipeline import Pipeline
from gateway.edits.purchase import Buyer
from gateway.ledger.budget_service import BudgetService
from gateway.ledger.tables import abandoned
from gateway.model.edit import ModelFacts
from gateway.queries.request import RequestStatus
from gateway.server.shutdown import GracefulShutdown
from gateway.settings import CacheSettings as CacheSettings
from gateway.settings import Settings, SettingsError
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, WorkerSlot
from gateway.telemetry.spans import NO_SPANS, Spans
from gateway.telemetry.usage_recorder import UsageRecorder
from gateway.uploads.reader import digest
from gateway.upstream.catalogue import Catalogue
from gateway.upstream.http import Upstream
from gateway.upstream.limiter import UpstreamLimiter
from gateway.upstream.rules.circuit_breaker import CircuitBreaker
from gateway.upstream.rules.fair_queue import FairQueue
from gateway.upstream.rules.retry_policy import LONGEST_WAIT_SECONDS

VERSION = version("image-edit-gateway")
HEARTBEAT_EXPIRY_MS = 30_000
STALE_NOTICE_MS = 5_000


def open_database(url: str) -> Database:
    """The engine that a state URL names. Raises SettingsError where it can't be used."""
    kind, _, rest = url.partition(":")
    if kind == "sqlite":
        return SqliteDatabase(Path(rest))
    try:
        from gateway.database.postgres import PostgresDatabase
    except ImportError:
        raise SettingsError(
            "[state] url: PostgreSQL needs the extra: pip install 'image-edit-gateway[postgres]'"
        ) from None
    return PostgresDatabase(url)


@dataclass
class Container:
    """Everything that a running gateway consists of."""

    settings: Settings
    log: EventLog
    metrics: Metrics
    spans: Spans
    database: Database
    results: ResultStore
    upstream: Upstream
    authenticator: Authenticator
    catalogue: Catalogue
    flights: SingleFlight[FlightResult]
    limiter: UpstreamLimiter
    lease_watcher: LeaseWatcher
    leases: Leases
    invalidation: Invalidation
    budgets: BudgetService
    recorder: UsageRecorder
    watch: BudgetMonitor
    pipeline: Pipeline
    inquiry: RequestStatus
    owner: abandoned.Owner
    clock: Clock
    shutdown: GracefulShutdown
    background: list[asyncio.Task[None]] = field(default_factory=list)

    def on_failure(self, part: str, error: BaseException) -> None:
        """Something went wrong and was survived."""
        tell(self.metrics, self.log, part, error)

    @property
    def state_up(self) -> bool:
        """Could the state be read in the last seconds?"""
        read_ms = self.authenticator.loaded_ms
        return read_ms is not None and self.clock() - read_ms <= STALE_NOTICE_MS

    def degraded(self) -> list[str]:
        """What does not work just now, though the gateway does."""
        found = []
        if not self.state_up:
            found.append("state: not read lately")
        if self.catalogue.listing is None:
            found.append("catalogue: never loaded")
        found += [f"upstream: {failure}" for failure in self.limiter.failure]
        if refused := self.upstream.refused_keys:
            found.append(f"upstream: {refused} of {self.upstream.keys} keys refused")
        if self.results.failure:
            found.append(f"results: {self.results.failure}")
        return found


def build(settings: Settings, log: EventLog, seat: WorkerSlot | None = None) -> Container:
    """Every part, not started yet; touches no network and no file."""
    clock = Clock()
    metrics = Metrics(VERSION, seat)
    spans = open_spans(settings)
    database = open_database(settings.state.url)
    results = open_results(settings)
    upstream = open_upstream(settings)
    owner = abandoned.Owner(f"own_{uuid.uuid4().hex}", socket.gethostname(), os.getpid(), clock())

    authenticator = Authenticator(settings.state.auth_stale_seconds)
    catalogue = Catalogue(
        fetch=upstream.models,
        keep=lambda body: _keep_catalogue(database, settings.upstream.name, body, clock()),
        overrides=_overrides(settings),
        clock=time.monotonic,
        on_failure=lambda text: log.warn("catalogue", detail=text),
        on_models=metrics.learn_models,
    )

    def on_failure(part: str, error: BaseException) -> None:
        tell(metrics, log, part, error)

    watch = _watch(settings, database, metrics, log, clock)
    budgets = BudgetService(
        database=database,
        owner_id=owner.id,
        zone=settings.zone,
        now_ms=clock,
        on_failure=on_failure,
        on_used_up=watch.refused,
    )
    leases = Leases(
        database=database,
        owner_id=owner.id,
        now_ms=clock,
        max_age_seconds=longest_flight_ms(settings) / 1000,
        storing_seconds=2 * settings.cache.timeout_seconds + 1,
        on_failure=on_failure,
    )
    lease_watcher = LeaseWatcher(
        database=database, now_ms=clock, silent_seconds=settings.state.lease_seconds
    )
    invalidation = Invalidation(
        database=database,
        results=results,
        now_ms=clock,
        interval_seconds=settings.state.refresh_seconds,
        on_failure=on_failure,
    )
    limiter = _limiter(settings, upstream, metrics, log)
    buyer = Buyer(
        settings=settings,
        budgets=budgets,
        leases=leases,
        follower=Follower(lease_watcher=lease_watcher, results=results, log=log, now_ms=clock),
        limiter=limiter,
        forwarder=Forwarder(
            settings=settings, upstream=upstream, metrics=metrics, log=log, spans=spans
        ),
        results=results,
        invalidation=invalidation,
        metrics=metrics,
        log=log,
        digest=digest,
        now_ms=clock,
        spans=spans,
    )
    flights: SingleFlight[FlightResult] = SingleFlight()
    coalescer = Coalescer(
        flights=flights,
        fly=buyer.buy,
        client_wait_seconds=settings.server.client_wait_seconds,
        now_ms=clock,
        spans=spans,
        on_unattended=lambda order, result: log.note(
            "a flight has landed without its client", **landing_facts(order, result)
        ),
    )
    pipeline = Pipeline(
        settings=settings,
        authenticator=authenticator,
        traffic=RateLimiter(lease=_lease(database)),
        catalogue=catalogue,
        results=results,
        coalescer=coalescer,
        digest=digest,
        now_ms=clock,
    )
    recorder = UsageRecorder(
        database=database, metrics=metrics, log=log, zone=settings.zone, now_ms=clock
    )
    inquiry = RequestStatus(
        database=database,
        recorder=recorder,
        coalescer=coalescer,
        results=results,
        owner_id=owner.id,
        now_ms=clock,
        silent_seconds=settings.state.lease_seconds,
    )
    return Container(
        settings=settings,
        log=log,
        metrics=metrics,
        spans=spans,
        database=database,
        results=results,
        upstream=upstream,
        authenticator=authenticator,
        catalogue=catalogue,
        flights=flights,
        limiter=limiter,
        lease_watcher=lease_watcher,
        leases=leases,
        invalidation=invalidation,
        budgets=budgets,
        recorder=recorder,
        watch=watch,
        pipeline=pipeline,
        inquiry=inquiry,
        owner=owner,
        clock=clock,
        shutdown=GracefulShutdown(
            settings.server.drain_seconds,
            lambda: flights.in_flight,
            log,
            on_end=limiter.close,
            on_begin=lease_watcher.stop_waiting,
        ),
    )


def open_results(settings: Settings) -> ResultStore:
    """The store that a results URL names. Raises SettingsError where it can't be used."""
    cache = settings.cache
    on_disk = cache.url.startswith("disk:")
    folder = cache.url.removeprefix("disk:") if on_disk else cache.local_folder
    try:
        local = DiskStore(
            Path(folder),
            max_bytes=cache.max_bytes,
            timeout_seconds=cache.timeout_seconds,
            memory_bytes=cache.memory_bytes,
        )
        return local if on_disk else _open_bucket(cache, local)
    except ValueError as error:
        raise SettingsError(f"[cache] url: {error}") from None


def _open_bucket(cache: CacheSettings, local: ResultStore) -> ResultStore:
    """A bucket with this machine's disk in front. Raises SettingsError, ValueError."""
    try:
        from gateway.cache.object_store import BucketStore
    except ImportError:
        raise SettingsError(
            "[cache] url: an object store needs the extra: "
            "pip install 'image-edit-gateway[objectstore]'"
        ) from None
    return BucketStore(cache.url, local, cache.timeout_seconds)


def open_spans(settings: Settings) -> Spans:
    """Tracing as the settings say. Raises SettingsError where it can't be had."""
    tracing = settings.tracing
    if not tracing.endpoint:
        return NO_SPANS
    try:
        from gateway.telemetry.opentelemetry_spans import OpenTelemetrySpans
    except ImportError:
        raise SettingsError(
            "[tracing] endpoint: traces need the extra: pip install 'image-edit-gateway[otel]'"
        ) from None
    headers = (header.get_secret_value().partition("=") for header in tracing.headers)
    return OpenTelemetrySpans(
        endpoint=tracing.endpoint,
        headers={name.strip(): value.strip() for name, _, value in headers},
        service_name=tracing.service_name,
        version=VERSION,
        sample_ratio=tracing.sample_ratio,
    )


def open_upstream(settings: Settings) -> Upstream:
    """The upstream that the settings name; connects when first asked."""
    upstream = settings.upstream
    return Upstream(
        base_url=upstream.base_url,
        api_keys=[key.get_secret_value() for key in upstream.api_key],
        timeout_seconds=upstream.timeout_seconds,
        read_timeout_seconds=upstream.read_timeout_seconds,
        connect_timeout_seconds=upstream.connect_timeout_seconds,
        max_answer_bytes=settings.limits.max_answer_bytes,
        proxy=upstream.proxy,
        ca_bundle=upstream.ca_bundle,
    )


def _limiter(
    settings: Settings, upstream: Upstream, metrics: Metrics, log: EventLog
) -> UpstreamLimiter:
    bounds = settings.upstream
    return UpstreamLimiter(
        queue=FairQueue(bounds.max_connections, bounds.max_waiting),
        queue_seconds=bounds.queue_seconds,
        circuit=CircuitBreaker(bounds.circuit_failures, bounds.circuit_seconds),
        rest_seconds=lambda: upstream.rest_seconds,
        metrics=metrics,
        log=log,
    )


def _watch(
    settings: Settings, database: Database, metrics: Metrics, log: EventLog, clock: Clock
) -> BudgetMonitor:
    warnings = settings.warnings

    def on_failure(part: str, error: BaseException) -> None:
        tell(metrics, log, part, error)

    delivery = WebhookDelivery(
        database=database,
        webhook=Webhook(secret=warnings.secret.get_secret_value(), proxy=warnings.proxy),
        webhook_url=warnings.webhook_url.get_secret_value(),
        metrics=metrics,
        log=log,
        now_ms=clock,
        on_failure=on_failure,
    )
    return BudgetMonitor(
        database=database,
        delivery=delivery,
        percents=warnings.percents,
        zone=settings.zone,
        metrics=metrics,
        log=log,
        now_ms=clock,
        on_failure=on_failure,
    )


def tell(metrics: Metrics, log: EventLog, part: str, error: BaseException) -> None:
    """Count and write down a trouble that was survived."""
    metrics.failure.labels(part).inc()
    log.warn("trouble", part=part, error=f"{type(error).__name__}: {error}")


def _overrides(settings: Settings) -> dict[str, ModelFacts]:
    return {
        name: ModelFacts(name, model.edit_supported, model.max_reference_images, model.max_n)
        for name, model in settings.models.items()
        if (model.edit_supported, model.max_reference_images, model.max_n) != (None, None, None)
    }


def _lease(database: Database) -> Lease:
    async def lease(account: str, minute: int, want: int, limit: int) -> tuple[int, int]:
        async def take(tx: Transaction) -> rate_leases.RateLease:
            return await rate_leases.lease(tx, account, minute, want, limit)

        taken = await database.write(take)
        return taken.granted, taken.leased

    return lease


async def _keep_catalogue(database: Database, upstream: str, body: bytes, at_ms: int) -> None:
    async def keep(tx: Transaction) -> None:
        await documents.keep_note(tx, f"catalogue:{upstream}", body.decode("utf-8"), at_ms)

    await database.write(keep, urgent=False)


def longest_flight_ms(settings: Settings) -> int:
    """How old a reservation must be before it can be abandoned: no call takes longer."""
    bounds = settings.upstream
    tries = 2 * bounds.timeout_seconds  # the last of them begins within the first time-out
    return int(1000 * (bounds.queue_seconds + LONGEST_WAIT_SECONDS + tries))
