"""Unresolved reservations: what a process that died has left held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.accounts.tables import audit
from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.rules.budget import OverBudget
from gateway.ledger.tables import unresolved_reservations
from gateway.ledger.tables.ledger_rows import OpenReservation
from gateway.ledger.tables.unresolved_reservations import Owner, UnresolvedReservation
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till, ledger_of

FLIGHT_MS, EXPIRY_MS = 1_200_000, 30_000
LATER_MS = NOW_MS + FLIGHT_MS + 1
OWNER = Owner("process-1", "host-a", 4711, NOW_MS - 1_000)


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def beat(till: Till, at: int, owner: Owner = OWNER) -> None:
    await till.database.write(lambda tx: unresolved_reservations.beat(tx, owner, at))


async def resolve(till: Till, at: int, limit: int = 100) -> Sequence[OpenReservation]:
    return await till.database.write(
        lambda tx: unresolved_reservations.settle_abandoned(
            tx,
            Abandonment(at, FLIGHT_MS, EXPIRY_MS),
            limit=limit,
        )
    )


async def unresolved(till: Till) -> list[UnresolvedReservation]:
    return await till.database.read(unresolved_reservations.list_unresolved)


async def test_what_a_crash_left_held_counts_as_spent_until_it_is_resolved(till: Till) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period="total")
    await till.reserve("a")
    with pytest.raises(OverBudget):
        await till.reserve("b", at=NOW_MS + 90 * DAY_MS)


async def test_an_abandoned_reservation_is_settled_at_its_ceiling_estimated(till: Till) -> None:
    await beat(till, NOW_MS)
    await till.reserve("a", 4 * CENT)
    (resolved,) = await resolve(till, LATER_MS)
    assert (resolved.id, resolved.request_id, resolved.ceiling_nanos) == ("a", "req-a", 4 * CENT)
    (row,) = await till.database.read(lambda tx: ledger_of(tx, "req-a"))
    assert (row.cost_nanos, row.estimated, row.status, row.day) == (4 * CENT, 1, None, TODAY)
    proven = await till.proven()
    assert (proven.held_nanos, proven.estimated_calls) == (0, 1)


async def test_a_process_that_lives_keeps_what_it_holds(till: Till) -> None:
    await till.reserve("a")
    await beat(till, LATER_MS - EXPIRY_MS)
    assert await resolve(till, LATER_MS) == []


async def test_a_flight_that_may_still_be_in_the_air_is_left_alone(till: Till) -> None:
    await till.reserve("a")
    assert await resolve(till, NOW_MS + FLIGHT_MS) == []
    assert len(await resolve(till, NOW_MS + FLIGHT_MS + 1)) == 1


async def test_a_process_that_was_never_heard_of_is_gone(till: Till) -> None:
    await till.reserve("a", owner_id="unheard")
    assert [held.id for held in await resolve(till, LATER_MS)] == ["a"]


async def test_a_process_that_said_goodbye_is_gone(till: Till) -> None:
    await beat(till, LATER_MS)
    await till.reserve("a")
    await till.database.write(lambda tx: unresolved_reservations.retire(tx, OWNER.id))
    assert [held.id for held in await resolve(till, LATER_MS)] == ["a"]


async def test_a_settle_after_the_sweep_books_the_difference(till: Till) -> None:
    await till.reserve("a", 4 * CENT)
    await resolve(till, LATER_MS)
    late = await till.settle("a", CENT, at=LATER_MS + 1)
    assert (late.cost_nanos, late.estimated) == (CENT, False)
    proven = await till.proven()
    assert (proven.spent_nanos, proven.estimated_calls, proven.ledger_rows) == (CENT, 0, 2)


async def test_the_sweep_takes_the_oldest_first_and_no_more_than_asked(till: Till) -> None:
    for number in range(5):
        await till.reserve(f"r{number}", at=NOW_MS - number)
    assert [held.id for held in await resolve(till, LATER_MS, limit=2)] == ["r3", "r4"]
    assert [held.id for held in await resolve(till, LATER_MS)] == ["r0", "r1", "r2"]
    assert await resolve(till, LATER_MS) == []


async def test_dead_processes_are_forgotten_once_they_hold_nothing(till: Till) -> None:
    await beat(till, NOW_MS)
    await till.reserve("a")
    await resolve(till, NOW_MS + EXPIRY_MS + 1)
    (found,) = await unresolved(till)
    assert found.heartbeat_ms == NOW_MS
    await resolve(till, LATER_MS)
    owners = await till.database.read(lambda tx: tx.fetch("SELECT id FROM owners"))
    assert list(owners) == []


async def test_the_list_agrees_with_what_the_sweep_takes(till: Till) -> None:
    await beat(till, NOW_MS)
    await beat(till, LATER_MS, Owner("process-2", "host-b", 1, NOW_MS))
    await till.reserve("dead")
    await till.reserve("alive", owner_id="process-2")
    await till.reserve("young", at=LATER_MS)
    abandoned = [
        each.held.id
        for each in await unresolved(till)
        if each.is_abandoned(Abandonment(LATER_MS, FLIGHT_MS, EXPIRY_MS))
    ]
    assert abandoned == ["dead"]
    assert [held.id for held in await resolve(till, LATER_MS)] == abandoned


async def test_what_is_settled_for_the_dead_is_in_the_audit_and_nothing_is_if_none_is(
    till: Till,
) -> None:
    for name in "ab":
        await till.reserve(name, 2 * CENT)

    async def settle(at: int) -> Sequence[OpenReservation]:
        by = Author("gateway", at, "its process is gone")
        return await till.database.write(
            lambda tx: unresolved_reservations.resolve(
                tx, by, Abandonment(by.now_ms, FLIGHT_MS, EXPIRY_MS)
            )
        )

    assert list(await settle(NOW_MS)) == []
    assert len(await settle(LATER_MS)) == 2
    (entry,) = await till.database.read(audit.list_audit)
    assert (entry.actor, entry.action, entry.subject) == ("gateway", "ledger.resolve", "ledger")
    assert entry.new == {"reservations": ["a", "b"], "booked_usd": "0.04"}


async def test_sweeps_and_late_settles_at_once_resolve_each_call_once(till: Till) -> None:
    names = [f"r{number:02}" for number in range(20)]
    for name in names:
        await till.reserve(name)
    sweeps = [resolve(till, LATER_MS, limit=12) for _ in range(3)]
    settles = [till.settle(name, CENT // 2) for name in reversed(names)]
    await asyncio.gather(*sweeps, *settles)
    proven = await till.proven()
    assert (proven.spent_nanos, proven.held_nanos) == (20 * CENT // 2, 0)
