"""The lease watcher: reports how flights of other processes ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.coalescing.lease_watcher import LeaseEnd, LeaseWatcher
from gateway.coalescing.rules.lease import FlightFailure, Lease
from gateway.coalescing.tables import leases as flights
from gateway.database.clock import now_ms
from gateway.database.database import Transaction
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.ledger.tables import unresolved_reservations
from gateway.ledger.tables.unresolved_reservations import Owner

SILENT_SECONDS = 0.6


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    engine = SqliteDatabase(tmp_path / "gateway.db")
    await migrate(engine)
    yield engine
    await engine.close()


@pytest.fixture
async def lease_watcher(database: SqliteDatabase) -> AsyncIterator[LeaseWatcher]:
    lease_watcher = LeaseWatcher(database=database, now_ms=now_ms, silent_seconds=SILENT_SECONDS)
    yield lease_watcher
    await lease_watcher.close()


async def start_flight(database: SqliteDatabase, key: str = "k", seconds: float = 60) -> Lease:
    """A flight of the process p1."""
    now = now_ms()
    lease = Lease(key, f"rsv_{key}", "p1", f"req_{key}", now, now + int(seconds * 1000))
    await database.write(lambda tx: flights.claim(tx, lease))
    return lease


async def end(database: SqliteDatabase, lease: Lease, failure: FlightFailure | None = None) -> None:
    ended = Lease(
        lease.key, lease.id, lease.owner_id, lease.request_id, lease.started_ms,
        now_ms() + 5_000, now_ms(), failure,
    )  # fmt: skip
    await database.write(lambda tx: flights.end(tx, ended))


async def keep_sending_heartbeats(database: SqliteDatabase) -> None:
    while True:
        await database.write(
            lambda tx: unresolved_reservations.beat(tx, Owner("p1", "host", 1, now_ms()), now_ms())
        )
        await asyncio.sleep(0.1)


async def test_a_flight_that_lands_is_told_of_to_all_who_follow_it(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    lease = await start_flight(database)
    watching = [asyncio.create_task(lease_watcher.end_of(lease)) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert lease_watcher.watched == 1
    await end(database, lease)

    assert [(await watch).how for watch in watching] == [LeaseEnd.FINISHED] * 3
    assert lease_watcher.watched == 0


async def test_a_failure_comes_with_the_lease(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    lease = await start_flight(database)
    watching = asyncio.create_task(lease_watcher.end_of(lease))
    await end(database, lease, FlightFailure("upstream_busy", 429, "busy"))

    ended = await watching
    assert ended.how is LeaseEnd.FAILED
    assert ended.lease.failure == FlightFailure("upstream_busy", 429, "busy")


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_lease_that_goes_or_becomes_another_s_is_told_of(
    database: SqliteDatabase, lease_watcher: LeaseWatcher, replaced: bool
) -> None:
    lease = await start_flight(database)

    async def take_away(tx: Transaction) -> None:
        await flights.remove(tx, lease.key, lease.id)
        if replaced:
            now = now_ms()
            await flights.claim(tx, Lease(lease.key, "rsv_2", "p3", "req_2", now, now + 60_000))

    await database.write(take_away)

    assert (await lease_watcher.end_of(lease)).how is LeaseEnd.GONE


async def test_an_owner_that_shows_no_life_is_told_of_in_time(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    lease = await start_flight(database)
    began = asyncio.get_running_loop().time()
    ended = await lease_watcher.end_of(lease)
    took = asyncio.get_running_loop().time() - began

    assert ended.how is LeaseEnd.OWNER_LOST
    assert SILENT_SECONDS <= took < SILENT_SECONDS + 1


async def test_an_owner_that_lives_is_followed_for_as_long_as_it_takes(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    beating = asyncio.create_task(keep_sending_heartbeats(database))
    lease = await start_flight(database)
    watching = asyncio.create_task(lease_watcher.end_of(lease))
    await asyncio.sleep(3 * SILENT_SECONDS)
    assert not watching.done()
    await end(database, lease)

    assert (await watching).how is LeaseEnd.FINISHED
    beating.cancel()


async def test_a_flight_that_is_too_old_is_given_up_though_its_owner_lives(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    beating = asyncio.create_task(keep_sending_heartbeats(database))
    lease = await start_flight(database, seconds=0.3)

    assert (await lease_watcher.end_of(lease)).how is LeaseEnd.OWNER_LOST
    beating.cancel()


async def test_an_unreadable_state_is_told_of_at_once(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    lease = await start_flight(database)
    watching = asyncio.create_task(lease_watcher.end_of(lease))
    await asyncio.sleep(0.1)
    await database.close()

    assert (await watching).how is LeaseEnd.UNREADABLE


async def test_whoever_waits_is_let_go_when_the_process_ends(
    database: SqliteDatabase, lease_watcher: LeaseWatcher
) -> None:
    lease = await start_flight(database)
    watching = asyncio.create_task(lease_watcher.end_of(lease))
    await asyncio.sleep(0.1)
    await lease_watcher.close()

    assert (await watching).how is LeaseEnd.SHUTTING_DOWN
    assert (await lease_watcher.end_of(lease)).how is LeaseEnd.SHUTTING_DOWN


async def test_hundreds_of_flights_are_watched_together(database: SqliteDatabase) -> None:
    watcher = LeaseWatcher(database=database, now_ms=now_ms, silent_seconds=60)
    leases = [await start_flight(database, f"k{number}") for number in range(300)]
    watching = [asyncio.create_task(watcher.end_of(lease)) for lease in leases]
    await asyncio.sleep(0.1)
    for lease in leases:
        await end(database, lease)

    async with asyncio.timeout(30):
        assert {(await watch).how for watch in watching} == {LeaseEnd.FINISHED}
    await watcher.close()
