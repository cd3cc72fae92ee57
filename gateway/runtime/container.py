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

from gateway.accounts.authenticator import Keyring
from gateway.accounts.rate_limiter import Lease, Traffic
from gateway.accounts.tables import rate_leases
from gateway.alerts import Courier, Watch
from gateway.alerts.webhook import Webhook
from gateway.cache.disk import DiskResults
from gateway.cache.invalidation import Announcements
from gateway.cache.result_store import Results
from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.lease_watcher import Lookout
from gateway.coalescing.single_flight import Flights
from gateway.database import documents
from gateway.database.clock import Clock
from gateway.database.database import Database, Transaction
from gateway.database.sqlite import SqliteDatabase
from gateway.edits.coalescer import Boarding
from gateway.edits.flight_result import Landing, landing_facts
from gateway.edits.follow_elsewhere import Follower
from gateway.edits.forward import Forwarder
from gateway.edits.pipeline import Pipeline
from gateway.edits.purchase import Buyer
from gateway.ledger.budget_service import Treasury
from gateway.ledger.tables import abandoned
from gateway.model.values import ModelFacts
from gateway.queries.request import Inquiry
from gateway.server.shutdown import Draining
from gateway.settings import Cache as CacheSettings
from gateway.settings import Settings, SettingsError
from gateway.telemetry.log import Journal
from gateway.telemetry.metrics import Meters, Seat
from gateway.telemetry.spans import NO_SPANS, Spans
from gateway.telemetry.usage_recorder import Recorder
from gateway.uploads.reader import digest
from gateway.upstream.catalogue import Catalogue
from gateway.upstream.http import Upstream
from gateway.upstream.limiter import Tower
from gateway.upstream.rules.circuit_breaker import Circuit
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
class Parts:
    """Everything that a running gateway consists of."""

    settings: Settings
    journal: Journal
    meters: Meters
    spans: Spans
    database: Database
    results: Results
    upstream: Upstream
    keyring: Keyring
    catalogue: Catalogue
    flights: Flights[Landing]
    tower: Tower
    lookout: Lookout
    leases: Leases
    announcements: Announcements
    treasury: Treasury
    recorder: Recorder
    watch: Watch
    pipeline: Pipeline
    inquiry: Inquiry
    owner: abandoned.Owner
    clock: Clock
    draining: Draining
    background: list[asyncio.Task[None]] = field(default_factory=list)

    def on_trouble(self, part: str, error: BaseException) -> None:
        """Something went wrong and was survived."""
        tell(self.meters, self.journal, part, error)

    @property
    def state_up(self) -> bool:
        """Could the state be read in the last seconds?"""
        read_ms = self.keyring.loaded_ms
        return read_ms is not None and self.clock() - read_ms <= STALE_NOTICE_MS

    def degraded(self) -> list[str]:
        """What does not work just now, though the gateway does."""
        found = []
        if not self.state_up:
            found.append("state: not read lately")
        if self.catalogue.listing is None:
            found.append("catalogue: never loaded")
        found += [f"upstream: {trouble}" for trouble in self.tower.trouble]
        if refused := self.upstream.refused_keys:
            found.append(f"upstream: {refused} of {self.upstream.keys} keys refused")
        if self.results.trouble:
            found.append(f"results: {self.results.trouble}")
        return found


def build(settings: Settings, journal: Journal, seat: Seat | None = None) -> Parts:
    """Every part, not started yet; touches no network and no file."""
    clock = Clock()
    meters = Meters(VERSION, seat)
    spans = open_spans(settings)
    database = open_database(settings.state.url)
    results = open_results(settings)
    upstream = open_upstream(settings)
    owner = abandoned.Owner(f"own_{uuid.uuid4().hex}", socket.gethostname(), os.getpid(), clock())

    keyring = Keyring(settings.state.auth_stale_seconds)
    catalogue = Catalogue(
        fetch=upstream.models,
        keep=lambda body: _keep_catalogue(database, settings.upstream.name, body, clock()),
        overrides=_overrides(settings),
        clock=time.monotonic,
        on_trouble=lambda text: journal.warn("catalogue", detail=text),
        on_models=meters.learn_models,
    )

    def on_trouble(part: str, error: BaseException) -> None:
        tell(meters, journal, part, error)

    watch = _watch(settings, database, meters, journal, clock)
    treasury = Treasury(
        database=database,
        owner_id=owner.id,
        zone=settings.zone,
        now_ms=clock,
        on_trouble=on_trouble,
        on_used_up=watch.refused,
    )
    leases = Leases(
        database=database,
        owner_id=owner.id,
        now_ms=clock,
        max_age_seconds=longest_flight_ms(settings) / 1000,
        landing_seconds=2 * settings.cache.timeout_seconds + 1,
        on_trouble=on_trouble,
    )
    lookout = Lookout(database=database, now_ms=clock, silent_seconds=settings.state.lease_seconds)
    announcements = Announcements(
        database=database,
        results=results,
        now_ms=clock,
        interval_seconds=settings.state.refresh_seconds,
        on_trouble=on_trouble,
    )
    tower = _tower(settings, upstream, meters, journal)
    buyer = Buyer(
        settings=settings,
        treasury=treasury,
        leases=leases,
        follower=Follower(lookout=lookout, results=results, journal=journal, now_ms=clock),
        tower=tower,
        forwarder=Forwarder(
            settings=settings, upstream=upstream, meters=meters, journal=journal, spans=spans
        ),
        results=results,
        announcements=announcements,
        meters=meters,
        journal=journal,
        digest=digest,
        now_ms=clock,
        spans=spans,
    )
    flights: Flights[Landing] = Flights()
    boarding = Boarding(
        flights=flights,
        fly=buyer.buy,
        client_wait_seconds=settings.server.client_wait_seconds,
        now_ms=clock,
        spans=spans,
        on_unattended=lambda order, landing: journal.note(
            "a flight has landed without its client", **landing_facts(order, landing)
        ),
    )
    pipeline = Pipeline(
        settings=settings,
        keyring=keyring,
        traffic=Traffic(lease=_lease(database)),
        catalogue=catalogue,
        results=results,
        boarding=boarding,
        digest=digest,
        now_ms=clock,
    )
    recorder = Recorder(
        database=database, meters=meters, journal=journal, zone=settings.zone, now_ms=clock
    )
    inquiry = Inquiry(
        database=database,
        recorder=recorder,
        boarding=boarding,
        results=results,
        owner_id=owner.id,
        now_ms=clock,
        silent_seconds=settings.state.lease_seconds,
    )
    return Parts(
        settings=settings,
        journal=journal,
        meters=meters,
        spans=spans,
        database=database,
        results=results,
        upstream=upstream,
        keyring=keyring,
        catalogue=catalogue,
        flights=flights,
        tower=tower,
        lookout=lookout,
        leases=leases,
        announcements=announcements,
        treasury=treasury,
        recorder=recorder,
        watch=watch,
        pipeline=pipeline,
        inquiry=inquiry,
        owner=owner,
        clock=clock,
        draining=Draining(
            settings.server.drain_seconds,
            lambda: flights.in_air,
            journal,
            on_end=tower.close,
            on_begin=lookout.let_go,
        ),
    )


def open_results(settings: Settings) -> Results:
    """The store that a results URL names. Raises SettingsError where it can't be used."""
    cache = settings.cache
    on_disk = cache.url.startswith("disk:")
    folder = cache.url.removeprefix("disk:") if on_disk else cache.local_folder
    try:
        local = DiskResults(
            Path(folder),
            max_bytes=cache.max_bytes,
            timeout_seconds=cache.timeout_seconds,
            memory_bytes=cache.memory_bytes,
        )
        return local if on_disk else _open_bucket(cache, local)
    except ValueError as error:
        raise SettingsError(f"[cache] url: {error}") from None


def _open_bucket(cache: CacheSettings, local: Results) -> Results:
    """A bucket with this machine's disk in front. Raises SettingsError, ValueError."""
    try:
        from gateway.cache.object_store import BucketResults
    except ImportError:
        raise SettingsError(
            "[cache] url: an object store needs the extra: "
            "pip install 'image-edit-gateway[objectstore]'"
        ) from None
    return BucketResults(cache.url, local, cache.timeout_seconds)


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


def _tower(settings: Settings, upstream: Upstream, meters: Meters, journal: Journal) -> Tower:
    bounds = settings.upstream
    return Tower(
        queue=FairQueue(bounds.max_connections, bounds.max_waiting),
        queue_seconds=bounds.queue_seconds,
        circuit=Circuit(bounds.circuit_failures, bounds.circuit_seconds),
        rest_seconds=lambda: upstream.rest_seconds,
        meters=meters,
        journal=journal,
    )


def _watch(
    settings: Settings, database: Database, meters: Meters, journal: Journal, clock: Clock
) -> Watch:
    warnings = settings.warnings

    def on_trouble(part: str, error: BaseException) -> None:
        tell(meters, journal, part, error)

    courier = Courier(
        database=database,
        webhook=Webhook(secret=warnings.secret.get_secret_value(), proxy=warnings.proxy),
        webhook_url=warnings.webhook_url.get_secret_value(),
        meters=meters,
        journal=journal,
        now_ms=clock,
        on_trouble=on_trouble,
    )
    return Watch(
        database=database,
        courier=courier,
        percents=warnings.percents,
        zone=settings.zone,
        meters=meters,
        journal=journal,
        now_ms=clock,
        on_trouble=on_trouble,
    )


def tell(meters: Meters, journal: Journal, part: str, error: BaseException) -> None:
    """Count and write down a trouble that was survived."""
    meters.trouble.labels(part).inc()
    journal.warn("trouble", part=part, error=f"{type(error).__name__}: {error}")


def _overrides(settings: Settings) -> dict[str, ModelFacts]:
    return {
        name: ModelFacts(name, model.edit_supported, model.max_reference_images, model.max_n)
        for name, model in settings.models.items()
        if (model.edit_supported, model.max_reference_images, model.max_n) != (None, None, None)
    }


def _lease(database: Database) -> Lease:
    async def lease(account: str, minute: int, want: int, limit: int) -> tuple[int, int]:
        async def take(tx: Transaction) -> rate_leases.Lease:
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
