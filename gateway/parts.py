"""The parts of a running gateway: built once, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from gateway.announcements import Announcements
from gateway.boarding import Boarding
from gateway.catalogue import Catalogue
from gateway.clock import Clock
from gateway.edges.body import digest
from gateway.edges.disk import DiskResults
from gateway.edges.journal import Journal
from gateway.edges.meters import Meters
from gateway.edges.sqlite import SqliteDatabase
from gateway.edges.upstream import Upstream
from gateway.edges.webhook import Webhook
from gateway.flights import Flights
from gateway.following import Follower
from gateway.forwarding import Forwarder
from gateway.keyring import Keyring, keep_fresh, refresh
from gateway.leasing import Leases
from gateway.lookout import Lookout
from gateway.model import ModelFacts
from gateway.orders import Landing
from gateway.pipeline import Pipeline
from gateway.purchase import Buyer
from gateway.recording import Recorder
from gateway.results import Results
from gateway.rules.money import usd
from gateway.rules.rates import minute_of
from gateway.rules.windows import day_of
from gateway.settings import Cache as CacheSettings
from gateway.settings import Settings, SettingsError
from gateway.state import notes, rates, resolving, usage
from gateway.state.audit import Author
from gateway.state.booking import OpenReservation
from gateway.state.database import Database, StateUnavailable, Transaction
from gateway.state.migrate import migrate
from gateway.traffic import Lease, Traffic
from gateway.treasury import Treasury
from gateway.warnings import Courier, Watch

VERSION = version("image-edit-gateway")
FIRST_CATALOGUE_SECONDS = 1.0
BEATS_OF_A_LEASE = 5
RESOLVE_SECONDS = 5.0
HEARTBEAT_EXPIRY_MS = 30_000
HOUSE_SECONDS = 60.0
DAY_MS = 86_400_000
STALE_NOTICE_MS = 5_000


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
    lookout: Lookout
    leases: Leases
    announcements: Announcements
    treasury: Treasury
    recorder: Recorder
    watch: Watch
    pipeline: Pipeline
    owner: resolving.Owner
    clock: Clock
    draining: bool = False
    background: list[asyncio.Task[None]] = field(default_factory=list)

    def on_trouble(self, part: str, error: BaseException) -> None:
        """Something went wrong and was survived."""
        tell(self.meters, self.journal, part, error)

    def degraded(self) -> list[str]:
        """What does not work just now, though the gateway does."""
        found = []
        read_ms = self.keyring.loaded_ms
        if read_ms is None or self.clock() - read_ms > STALE_NOTICE_MS:
            found.append("state: not read lately")
        if self.catalogue.listing is None:
            found.append("catalogue: never loaded")
        if self.results.trouble:
            found.append(f"results: {self.results.trouble}")
        return found


def build(settings: Settings, journal: Journal) -> Parts:
    """Every part, not started yet; touches no network and no file."""
    clock = Clock()
    meters = Meters(VERSION)
    database = open_database(settings.state.url)
    results = open_results(settings)
    upstream = open_upstream(settings)
    owner = resolving.Owner(f"own_{uuid.uuid4().hex}", socket.gethostname(), os.getpid(), clock())

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
    buyer = Buyer(
        settings=settings,
        treasury=treasury,
        leases=leases,
        follower=Follower(lookout=lookout, results=results, journal=journal, now_ms=clock),
        forwarder=Forwarder(settings=settings, upstream=upstream, meters=meters, journal=journal),
        results=results,
        announcements=announcements,
        meters=meters,
        journal=journal,
        digest=digest,
        now_ms=clock,
    )
    flights: Flights[Landing] = Flights()
    boarding = Boarding(
        flights=flights,
        fly=buyer.buy,
        client_wait_seconds=settings.server.client_wait_seconds,
        now_ms=clock,
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
        lookout=lookout,
        leases=leases,
        announcements=announcements,
        treasury=treasury,
        recorder=recorder,
        watch=watch,
        pipeline=pipeline,
        owner=owner,
        clock=clock,
    )


def open_results(settings: Settings) -> Results:
    """The store that a results URL names. Raises SettingsError where it can't be used."""
    cache = settings.cache
    on_disk = cache.url.startswith("disk:")
    folder = cache.url.removeprefix("disk:") if on_disk else cache.local_folder
    try:
        local = DiskResults(
            Path(folder), max_bytes=cache.max_bytes, timeout_seconds=cache.timeout_seconds
        )
        return local if on_disk else _open_bucket(cache, local)
    except ValueError as error:
        raise SettingsError(f"[cache] url: {error}") from None


def _open_bucket(cache: CacheSettings, local: Results) -> Results:
    """A bucket with this machine's disk in front. Raises SettingsError, ValueError."""
    try:
        from gateway.edges.bucket import BucketResults
    except ImportError:
        raise SettingsError(
            "[cache] url: an object store needs the extra: "
            "pip install 'image-edit-gateway[objectstore]'"
        ) from None
    return BucketResults(cache.url, local, cache.timeout_seconds)


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
        async def take(tx: Transaction) -> rates.Lease:
            return await rates.lease(tx, account, minute, want, limit)

        taken = await database.write(take)
        return taken.granted, taken.leased

    return lease


async def _keep_catalogue(database: Database, upstream: str, body: bytes, at_ms: int) -> None:
    async def keep(tx: Transaction) -> None:
        await notes.keep_note(tx, f"catalogue:{upstream}", body.decode("utf-8"), at_ms)

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


async def _beat(parts: Parts) -> None:
    """Say that this process lives, often: its flights are taken over when it has not for long."""
    while True:
        now = parts.clock()

        async def beat(tx: Transaction, now: int = now) -> None:
            await resolving.beat(tx, parts.owner, now)

        try:
            await parts.database.write(beat, urgent=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the heart must go on
            parts.on_trouble("heartbeat", error)
        await asyncio.sleep(parts.settings.state.lease_seconds / BEATS_OF_A_LEASE)


async def _keep_books(parts: Parts) -> None:
    """Settle what dead processes have left, and say in the audit and the journal what that was."""
    while True:
        by = Author("gateway", parts.clock(), "its process is gone")

        async def settle(tx: Transaction, by: Author = by) -> Sequence[OpenReservation]:
            return await resolving.settle_abandoned(
                tx,
                by,
                longest_flight_ms=longest_flight_ms(parts.settings),
                heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
            )

        try:
            settled = await parts.database.write(settle, urgent=False)
        except StateUnavailable as error:
            parts.on_trouble("resolving", error)
        else:
            if settled:
                parts.journal.warn(
                    "reservations of a dead process settled",
                    count=len(settled),
                    reservations=[held.id for held in settled],
                    booked_usd=usd(sum(held.ceiling_nanos for held in settled)),
                )
        await asyncio.sleep(RESOLVE_SECONDS)


async def _keep_house(parts: Parts) -> None:
    """Each minute: the state's clock, and what may be forgotten."""
    while True:
        await asyncio.sleep(HOUSE_SECONDS)
        try:
            await parts.clock.measure(parts.database)
            await parts.database.write(functools.partial(_forget, parts), urgent=False)
        except StateUnavailable as error:
            parts.on_trouble("housekeeping", error)


async def _forget(parts: Parts, tx: Transaction) -> None:
    """Past minutes' rates, and rows of single hits that are older than they need be; flights
    that are over, and announcements that everybody has heard."""
    now = parts.clock()
    await parts.leases.sweep(tx)
    await parts.announcements.sweep(tx)
    await rates.sweep(tx, minute_of(now) - 5)
    oldest = now - parts.settings.state.usage_days * DAY_MS
    await usage.fold(tx, day_of(oldest, parts.settings.zone))


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Start the parts; at the end let flights land, write what waits, and close."""
    settings = parts.settings
    await migrate(parts.database)
    await parts.clock.measure(parts.database)
    await refresh(parts.keyring, parts.database, parts.clock)
    await _first_catalogue(parts)
    await parts.results.start()
    on_keyring_trouble = functools.partial(parts.on_trouble, "keyring")
    for name, work in {
        "keyring": keep_fresh(
            parts.keyring,
            parts.database,
            parts.clock,
            settings.state.refresh_seconds,
            on_keyring_trouble,
        ),
        "catalogue": parts.catalogue.keep_fresh(settings.upstream.catalogue_seconds),
        "recorder": parts.recorder.run(),
        "announcements": parts.announcements.run(),
        "warnings": parts.watch.run(),
        "heart": _beat(parts),
        "books": _keep_books(parts),
        "house": _keep_house(parts),
    }.items():
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(functools.partial(_ended, parts))
        parts.background.append(task)
    try:
        yield
    finally:
        await _stop(parts)


def _ended(parts: Parts, task: asyncio.Task[None]) -> None:
    """Work that goes on for ever has ended: cancelled at the stop, or by a fault of ours."""
    if task.cancelled():
        return
    if error := task.exception():
        parts.meters.trouble.labels(f"background_{task.get_name()}").inc()
        parts.journal.fault("a background task crashed", error, task=task.get_name())


async def _stop(parts: Parts) -> None:
    parts.draining = True
    drain_seconds = parts.settings.server.drain_seconds
    await parts.lookout.close()
    if parts.flights.in_air:
        parts.journal.note("draining", flights=parts.flights.in_air, at_most_seconds=drain_seconds)
    left = await parts.flights.drain(drain_seconds)
    unwritten = await parts.treasury.drain(5.0)
    for task in parts.background:
        task.cancel()
    await asyncio.gather(*parts.background, return_exceptions=True)
    await parts.recorder.flush()
    await _last_words(parts)
    await parts.watch.close()
    if left or unwritten:
        parts.journal.warn("stopped with calls unfinished", flights=left, unwritten=unwritten)
    else:
        await _say_goodbye(parts)
    await parts.upstream.close()
    await parts.results.close()
    await parts.database.close()


async def _last_words(parts: Parts) -> None:
    """What was replaced in the last moments: other machines may still have the old."""
    try:
        await parts.announcements.tell()
    except StateUnavailable as error:
        parts.on_trouble("announcements", error)


async def _say_goodbye(parts: Parts) -> None:
    async def retire(tx: Transaction) -> None:
        await resolving.retire(tx, parts.owner.id)

    try:
        await parts.database.write(retire)
    except StateUnavailable as error:
        parts.on_trouble("heartbeat", error)
