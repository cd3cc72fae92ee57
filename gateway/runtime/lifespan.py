"""The life of a running gateway: its parts are started, kept going, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.accounts.authenticator import keep_fresh, refresh
from gateway.accounts.rules.rate_leases import minute_of
from gateway.accounts.tables import rate_leases
from gateway.accounts.tables.audit import Author
from gateway.database import documents
from gateway.database.database import StateUnavailable, Transaction
from gateway.database.migrate import migrate
from gateway.ledger.tables import abandoned, usage
from gateway.ledger.tables.booking import OpenReservation
from gateway.model.money import usd
from gateway.model.windows import day_of
from gateway.runtime.collectors import glance_often, survey
from gateway.runtime.container import HEARTBEAT_EXPIRY_MS, VERSION, Container, longest_flight_ms
from gateway.server.allocator import give_back

FIRST_CATALOGUE_SECONDS = 1.0
BEATS_OF_A_LEASE = 5
RESOLVE_SECONDS = 5.0
BREAK_SECONDS = 5.0
HOUSE_SECONDS = 60.0
DAY_MS = 86_400_000


@asynccontextmanager
async def running(parts: Container) -> AsyncIterator[None]:
    """Start the parts; at the end let flights land, write what waits, and close."""
    settings = parts.settings
    await migrate(parts.database)
    await parts.clock.measure(parts.database)
    await refresh(parts.authenticator, parts.database, parts.clock)
    await _first_catalogue(parts)
    await parts.results.start()
    on_keyring_trouble = functools.partial(parts.on_failure, "keyring")
    for name, work in {
        "keyring": keep_fresh(
            parts.authenticator,
            parts.database,
            parts.clock,
            settings.state.refresh_seconds,
            on_keyring_trouble,
        ),
        "catalogue": parts.catalogue.keep_fresh(settings.upstream.catalogue_seconds),
        "recorder": parts.recorder.run(),
        "announcements": parts.invalidation.run(),
        "warnings": parts.watch.run(),
        "heart": _beat(parts),
        "books": _keep_books(parts),
        "house": _keep_house(parts),
        "gauges": glance_often(parts),
        "survey": survey(parts),
    }.items():
        parts.metrics.failure.labels(f"background_{name}")  # at 0, until it crashes
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(functools.partial(_ended, parts))
        parts.background.append(task)
    parts.log.note("started", version=VERSION, pid=os.getpid())
    try:
        yield
    finally:
        await _stop(parts)
        parts.log.note("stopped", pid=os.getpid())


async def _first_catalogue(parts: Container) -> None:
    """The last good copy at once, or else a short wait for the first."""
    name = f"catalogue:{parts.settings.upstream.name}"

    async def load(tx: Transaction) -> str | None:
        note = await documents.read_note(tx, name)
        return note.body if note else None

    if kept := await parts.database.read(load):
        parts.catalogue.load(kept.encode())
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(parts.catalogue.refresh(), FIRST_CATALOGUE_SECONDS)


async def _beat(parts: Container) -> None:
    """Say that this process lives, often: its flights are taken over when it has not for long."""
    while True:
        now = parts.clock()

        async def beat(tx: Transaction, now: int = now) -> None:
            await abandoned.beat(tx, parts.owner, now)

        try:
            await parts.database.write(beat, urgent=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the heart must go on
            parts.on_failure("heartbeat", error)
        await asyncio.sleep(parts.settings.state.lease_seconds / BEATS_OF_A_LEASE)


async def _keep_books(parts: Container) -> None:
    """Settle what dead processes have left, and say in the audit and the journal what that was."""
    while True:
        by = Author("gateway", parts.clock(), "its process is gone")

        async def settle(tx: Transaction, by: Author = by) -> Sequence[OpenReservation]:
            return await abandoned.settle_abandoned(
                tx,
                by,
                longest_flight_ms=longest_flight_ms(parts.settings),
                heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
            )

        try:
            settled = await parts.database.write(settle, urgent=False)
        except StateUnavailable as error:
            parts.on_failure("resolving", error)
        else:
            if settled:
                parts.log.warn(
                    "reservations of a dead process settled",
                    count=len(settled),
                    reservations=[held.id for held in settled],
                    booked_usd=usd(sum(held.ceiling_nanos for held in settled)),
                )
        await asyncio.sleep(RESOLVE_SECONDS)


async def _keep_house(parts: Container) -> None:
    """Each minute: free memory, the state's clock, and what may be forgotten."""
    while True:
        await asyncio.sleep(HOUSE_SECONDS)
        await asyncio.to_thread(give_back)
        try:
            await parts.clock.measure(parts.database)
            await parts.database.write(functools.partial(_forget, parts), urgent=False)
        except StateUnavailable as error:
            parts.on_failure("housekeeping", error)


async def _forget(parts: Container, tx: Transaction) -> None:
    """Past minutes' rates, and rows of single hits that are older than they need be; flights
    that are over, and announcements that everybody has heard."""
    now = parts.clock()
    await parts.leases.sweep(tx)
    await parts.invalidation.sweep(tx)
    await rate_leases.sweep(tx, minute_of(now) - 5)
    oldest = now - parts.settings.state.usage_days * DAY_MS
    await usage.fold(tx, day_of(oldest, parts.settings.zone))


def _ended(parts: Container, task: asyncio.Task[None]) -> None:
    """Work that goes on for ever has ended: cancelled at the stop, or by a fault of ours."""
    if task.cancelled():
        return
    if error := task.exception():
        parts.metrics.failure.labels(f"background_{task.get_name()}").inc()
        parts.log.fault("a background task crashed", error, task=task.get_name())


async def _stop(parts: Container) -> None:
    parts.shutdown.begin()
    await parts.lease_watcher.close()
    left = await parts.flights.drain(parts.shutdown.seconds_left)
    if left:
        parts.shutdown.end()
        await parts.upstream.close()  # each ends as a call that broke, and is booked as one
    unsettled = await parts.flights.drain(BREAK_SECONDS)
    unwritten = await parts.budgets.drain(5.0)
    for task in parts.background:
        task.cancel()
    await asyncio.gather(*parts.background, return_exceptions=True)
    await parts.recorder.flush()
    await _last_words(parts)
    await parts.watch.close()
    if left or unwritten:
        parts.log.warn("stopped with calls unfinished", flights=left, unwritten=unwritten)
    if not (unsettled or unwritten):
        await _say_goodbye(parts)
    await parts.upstream.close()
    await parts.results.close()
    await parts.database.close()
    await asyncio.to_thread(parts.spans.close)


async def _last_words(parts: Container) -> None:
    """What was replaced in the last moments: other machines may still have the old."""
    try:
        await parts.invalidation.tell()
    except StateUnavailable as error:
        parts.on_failure("announcements", error)


async def _say_goodbye(parts: Container) -> None:
    async def retire(tx: Transaction) -> None:
        await abandoned.retire(tx, parts.owner.id)

    try:
        await parts.database.write(retire)
    except StateUnavailable as error:
        parts.on_failure("heartbeat", error)
