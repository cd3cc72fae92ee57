"""The parts of a running gateway: built once, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from gateway.catalogue import Catalogue
from gateway.edges.body import digest
from gateway.edges.disk import DiskResults
from gateway.edges.journal import Journal
from gateway.edges.meters import Meters
from gateway.edges.sqlite import SqliteDatabase
from gateway.edges.upstream import Upstream
from gateway.edges.webhook import Webhook
from gateway.flights import Flights
from gateway.keyring import Keyring, keep_fresh, refresh
from gateway.model import ModelFacts
from gateway.pipeline import Pipeline
from gateway.purchase import Buyer, Landing
from gateway.recording import Recorder
from gateway.results import Results
from gateway.settings import Settings, SettingsError
from gateway.state import notes, rates, resolving
from gateway.state.database import Database, StateUnavailable, Transaction
from gateway.state.migrate import migrate
from gateway.traffic import Lease, Traffic
from gateway.treasury import Treasury
from gateway.warnings import Courier, Watch

VERSION = version("image-edit-gateway")
FIRST_CATALOGUE_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
HEARTBEAT_EXPIRY_MS = 30_000
STALE_NOTICE_MS = 5_000


def now_ms() -> int:
    """Unix milliseconds now."""
    return time.time_ns() // 1_000_000


def open_database(url: str) -> Database:
    """The engine that a state URL names. Raises SettingsError where it can't be used."""
    kind, _, rest = url.partition(":")
    if kind == "sqlite":
        return SqliteDatabase(Path(rest))
    try:
        from gateway.edges.postgres import PostgresDatabase
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
    database: Database
    results: Results
    upstream: Upstream
    keyring: Keyring
    catalogue: Catalogue
    flights: Flights[Landing]
    treasury: Treasury
    recorder: Recorder
    watch: Watch
    pipeline: Pipeline
    owner: resolving.Owner
    draining: bool = False
    background: list[asyncio.Task[None]] = field(default_factory=list)

    def on_trouble(self, part: str, error: BaseException) -> None:
        """Something went wrong and was survived."""
        tell(self.meters, self.journal, part, error)

    def degraded(self) -> list[str]:
        """What does not work just now, though the gateway does."""
        found = []
        read_ms = self.keyring.loaded_ms
        if read_ms is None or now_ms() - read_ms > STALE_NOTICE_MS:
            found.append("state: not read lately")
        if self.catalogue.listing is None:
            found.append("catalogue: never loaded")
        if self.results.trouble:
            found.append(f"results: {self.results.trouble}")
        return found


def build(settings: Settings, journal: Journal) -> Parts:
    """Every part, not started yet; touches no network and no file."""
    meters = Meters(VERSION)
    database = open_database(settings.state.url)
    results = open_results(settings)
    upstream = open_upstream(settings)
    owner = resolving.Owner(f"own_{uuid.uuid4().hex}", socket.gethostname(), os.getpid(), now_ms())

    keyring = Keyring(settings.state.auth_stale_seconds)
    catalogue = Catalogue(
        fetch=upstream.models,
        keep=lambda body: _keep_catalogue(database, settings.upstream.name, body),
        overrides=_overrides(settings),
        clock=time.monotonic,
        on_trouble=lambda text: journal.warn("catalogue", detail=text),
    )
    watch = _watch(settings, database, meters, journal)
    treasury = Treasury(
        database=database,
        owner_id=owner.id,
        zone=settings.zone,
        now_ms=now_ms,
        on_trouble=lambda part, error: tell(meters, journal, part, error),
        on_used_up=watch.refused,
    )
    buyer = Buyer(
        settings=settings,
        treasury=treasury,
        results=results,
        upstream=upstream,
        meters=meters,
        journal=journal,
        digest=digest,
        now_ms=now_ms,
    )
    flights: Flights[Landing] = Flights()
    pipeline = Pipeline(
        settings=settings,
        keyring=keyring,
        traffic=Traffic(lease=_lease(database)),
        catalogue=catalogue,
        results=results,
        flights=flights,
        buyer=buyer,
        digest=digest,
        now_ms=now_ms,
    )
    recorder = Recorder(
        database=database, meters=meters, journal=journal, zone=settings.zone, now_ms=now_ms
    )
    return Parts(
        settings=settings,
        journal=journal,
        meters=meters,
        database=database,
        results=results,
        upstream=upstream,
        keyring=keyring,
        catalogue=catalogue,
        flights=flights,
        treasury=treasury,
        recorder=recorder,
        watch=watch,
        pipeline=pipeline,
        owner=owner,
    )


def open_results(settings: Settings) -> Results:
    """The store that a results URL names. Raises SettingsError where it can't be used."""
    cache = settings.cache
    if cache.url.startswith("disk:"):
        return DiskResults(
            Path(cache.url.removeprefix("disk:")),
            max_bytes=cache.max_bytes,
            timeout_seconds=cache.timeout_seconds,
        )
    raise SettingsError(f"[cache] url: {cache.url} is not served by this version")


def open_upstream(settings: Settings) -> Upstream:
    """The upstream that the settings name; connects when first asked."""
    upstream = settings.upstream
    return Upstream(
        base_url=upstream.base_url,
        api_keys=[key.get_secret_value() for key in upstream.api_key],
        timeout_seconds=upstream.timeout_seconds,
        connect_timeout_seconds=upstream.connect_timeout_seconds,
        max_connections=upstream.max_connections,
        max_answer_bytes=settings.limits.max_answer_bytes,
        proxy=upstream.proxy,
        ca_bundle=upstream.ca_bundle,
    )


def _watch(settings: Settings, database: Database, meters: Meters, journal: Journal) -> Watch:
    warnings = settings.warnings

    def on_trouble(part: str, error: BaseException) -> None:
        tell(meters, journal, part, error)

    courier = Courier(
        database=database,
        webhook=Webhook(secret=warnings.secret.get_secret_value(), proxy=warnings.proxy),
        webhook_url=warnings.webhook_url.get_secret_value(),
        meters=meters,
        journal=journal,
        now_ms=now_ms,
        on_trouble=on_trouble,
    )
    return Watch(
        database=database,
        courier=courier,
        percents=warnings.percents,
        zone=settings.zone,
        meters=meters,
        journal=journal,
        now_ms=now_ms,
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
        async def take(tx: Transaction) -> rates.Lease:
            return await rates.lease(tx, account, minute, want, limit)

        taken = await database.write(take)
        return taken.granted, taken.leased

    return lease


async def _keep_catalogue(database: Database, upstream: str, body: bytes) -> None:
    async def keep(tx: Transaction) -> None:
        await notes.keep_note(tx, f"catalogue:{upstream}", body.decode("utf-8"), now_ms())

    await database.write(keep, urgent=False)


async def _first_catalogue(parts: Parts) -> None:
    """The last good copy at once, or else a short wait for the first."""
    name = f"catalogue:{parts.settings.upstream.name}"

    async def load(tx: Transaction) -> str | None:
        note = await notes.read_note(tx, name)
        return note.body if note else None

    if kept := await parts.database.read(load):
        parts.catalogue.load(kept.encode())
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(parts.catalogue.refresh(), FIRST_CATALOGUE_SECONDS)


def longest_flight_ms(settings: Settings) -> int:
    """How old a reservation must be before it can be abandoned: no call takes longer."""
    return int(2000 * settings.upstream.timeout_seconds)


async def _keep_books(parts: Parts) -> None:
    """Say that this process lives, and settle what dead ones have left."""
    while True:
        now = now_ms()

        async def beat(tx: Transaction, now: int = now) -> Sequence[object]:
            await resolving.beat(tx, parts.owner, now)
            return await resolving.resolve(
                tx,
                now_ms=now,
                longest_flight_ms=longest_flight_ms(parts.settings),
                heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
            )

        try:
            resolved = await parts.database.write(beat, urgent=False)
        except StateUnavailable as error:
            parts.on_trouble("heartbeat", error)
        else:
            if resolved:
                parts.journal.warn("reservations of a dead process settled", count=len(resolved))
        await asyncio.sleep(HEARTBEAT_SECONDS)


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Start the parts; at the end let flights land, write what waits, and close."""
    settings = parts.settings
    await migrate(parts.database)
    await refresh(parts.keyring, parts.database, now_ms)
    await _first_catalogue(parts)
    await parts.results.start()
    for work in (
        keep_fresh(
            parts.keyring,
            parts.database,
            now_ms,
            settings.state.refresh_seconds,
            lambda error: parts.on_trouble("keyring", error),
        ),
        parts.catalogue.keep_fresh(settings.upstream.catalogue_seconds),
        parts.recorder.run(),
        parts.watch.run(),
        _keep_books(parts),
    ):
        parts.background.append(asyncio.create_task(work))
    try:
        yield
    finally:
        await _stop(parts)


async def _stop(parts: Parts) -> None:
    parts.draining = True
    drain_seconds = parts.settings.server.drain_seconds
    if parts.flights.in_air:
        parts.journal.note("draining", flights=parts.flights.in_air, at_most_seconds=drain_seconds)
    left = await parts.flights.drain(drain_seconds)
    unwritten = await parts.treasury.drain(5.0)
    for task in parts.background:
        task.cancel()
    await asyncio.gather(*parts.background, return_exceptions=True)
    await parts.recorder.flush()
    await parts.watch.close()
    if left or unwritten:
        parts.journal.warn("stopped with calls unfinished", flights=left, unwritten=unwritten)
    else:
        await _say_goodbye(parts)
    await parts.upstream.close()
    await parts.results.close()
    await parts.database.close()


async def _say_goodbye(parts: Parts) -> None:
    async def retire(tx: Transaction) -> None:
        await resolving.retire(tx, parts.owner.id)

    try:
        await parts.database.write(retire)
    except StateUnavailable as error:
        parts.on_trouble("heartbeat", error)
