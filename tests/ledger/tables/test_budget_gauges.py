"""How everybody stands: budgets in their windows, and reservations that nobody will settle."""

from __future__ import annotations

import pytest

from gateway.database.database import Database
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import unresolved_reservations
from gateway.ledger.tables.budget_gauges import (
    ReservationCounts,
    budget_balances,
    count_reservations,
)
from gateway.ledger.tables.unresolved_reservations import Owner
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till

FLIGHT_MS, EXPIRY_MS = 1_200_000, 30_000


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def budgets(till: Till) -> dict[str, tuple[int | None, int, int]]:
    found = await till.database.read(lambda tx: budget_balances(tx, TODAY, till.zone))
    return {
        each.account.id: (each.account.limits.budget_nanos, each.spent_nanos, each.held_nanos)
        for each in found
    }


async def held(till: Till, at: int) -> ReservationCounts:
    return await till.database.read(
        lambda tx: count_reservations(tx, Abandonment(at, FLIGHT_MS, EXPIRY_MS))
    )


async def test_only_accounts_that_have_a_budget_are_told_and_never_keys(till: Till) -> None:
    assert await budgets(till) == {}
    team = till.caller.team_account.id
    await till.limit("organisation", budget_nanos=9 * CENT, budget_period="total")
    await till.limit(team, budget_nanos=5 * CENT, budget_period="day")
    await till.limit(till.caller.key_account.id, budget_nanos=CENT * 3, budget_period="day")
    await till.reserve("yesterday", at=NOW_MS - DAY_MS)
    await till.settle("yesterday", at=NOW_MS - DAY_MS)
    await till.reserve("a")
    await till.settle("a")
    await till.reserve("b")

    assert await budgets(till) == {
        "organisation": (9 * CENT, 2 * CENT, CENT),
        team: (5 * CENT, CENT, CENT),
    }


async def test_a_team_that_is_archived_is_told_no_more(till: Till) -> None:
    team = till.caller.team_account.id
    await till.limit(team, budget_nanos=CENT, budget_period="day")
    assert list(await budgets(till)) == [team]
    await till.limit(team, ended_ms=NOW_MS)
    assert await budgets(till) == {}


async def test_what_no_living_flight_will_settle_is_unresolved(till: Till) -> None:
    assert await held(till, NOW_MS) == ReservationCounts(0, 0)
    living = Owner("living", "host", 1, NOW_MS)
    await till.database.write(lambda tx: unresolved_reservations.beat(tx, living, NOW_MS))
    await till.reserve("of-a-living", owner_id="living")
    await till.reserve("of-a-dead", owner_id="dead")

    assert await held(till, NOW_MS) == ReservationCounts(2, 1)
    assert await held(till, NOW_MS + EXPIRY_MS + 1) == ReservationCounts(2, 2), (
        "its heart has stopped"
    )
    later = NOW_MS + FLIGHT_MS + 1
    await till.database.write(lambda tx: unresolved_reservations.beat(tx, living, later))
    assert await held(till, later) == ReservationCounts(2, 2), "older than any call"
    await till.settle("of-a-living")
    assert await held(till, later) == ReservationCounts(1, 1)
