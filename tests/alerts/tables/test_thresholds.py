"""What was told of a budget, and the queue of what is to be posted, on both engines."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

import pytest

from gateway.accounts.rules.account_settings import change_settings
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import update_key
from gateway.accounts.tables.teams import update_team
from gateway.alerts.rules.thresholds import PassedThreshold
from gateway.alerts.tables import outbox, refused_edits, thresholds
from gateway.alerts.tables.outbox import Alert, Due
from gateway.alerts.tables.thresholds import Claim, MonitoredBudget
from gateway.database.database import Database
from tests.support.accounts import change
from tests.support.databases import open_engine
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, TODAY, Till

TEAM, KEY = "team:design", "key:k1"
HOOK, TEAM_HOOK = "https://chat.example/everybody", "https://chat.example/design"
BY = Author("test", NOW_MS)
LEASE_MS = 60_000


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open(callers=(CALLER,))


async def watched(till: Till, *ids: str) -> dict[str, MonitoredBudget]:
    found = await till.database.read(lambda tx: thresholds.monitored_budgets(tx, ids, TODAY, UTC))
    return {each.balance.account.id: each for each in found}


def claim(name: str = "wrn_1", *, percent: int = 50, posted: bool = True, **facts: object) -> Claim:
    passed = PassedThreshold(
        account=TEAM,
        level="team",
        name="design",
        team="design",
        percent=percent,
        limit_nanos=2 * CENT,
        spent_nanos=CENT,
        held_nanos=0,
        period="month",
        first_day="2026-11-01",
        resets_ms=NOW_MS + DAY_MS,
    )
    return Claim(name, replace(passed, **facts), posted)  # type: ignore[arg-type]


async def put(database: Database, *claims: Claim, at: int = NOW_MS) -> list[str]:
    mine = await database.write(lambda tx: thresholds.claim(tx, claims, at))
    return [each.id for each in mine]


async def take(database: Database, at: int = NOW_MS, limit: int = 10) -> Sequence[Due]:
    return await database.write(
        lambda tx: outbox.take_due(tx, now_ms=at, lease_ms=LEASE_MS, limit=limit)
    )


# --- signs and marks ------------------------------------------------------------------


async def test_the_signs_move_when_something_is_spent_or_changed(till: Till) -> None:
    async def signs() -> tuple[int, int]:
        found = await till.database.read(lambda tx: thresholds.read_snapshot(tx, NOW_MS))
        return found.change, found.spent_nanos

    before = await signs()
    await till.reserve("a")
    assert await signs() == before
    await till.settle("a", CENT)
    spent = await signs()
    assert spent == (before[0], CENT)
    await change(
        till.database, update_key, "k1", lambda t: change_settings(t, "key", {"models": "m"}), BY
    )
    assert (await signs())[0] > spent[0]


async def test_the_marks_are_those_of_teams_and_of_accounts_with_a_budget(till: Till) -> None:
    await till.limit(TEAM, budget_nanos=5 * CENT, budget_period="month")
    await till.reserve("a")
    await till.settle("a", CENT)
    marks = await till.database.read(thresholds.generation_counters)
    assert {name: mark[0] for name, mark in marks.items()} == {TEAM: CENT}


async def test_a_change_of_the_team_moves_the_marks_of_its_keys(till: Till) -> None:
    await till.limit(KEY, budget_nanos=5 * CENT, budget_period="month", parent=TEAM)
    await till.reserve("a")
    await till.settle("a", CENT)
    before = await till.database.read(thresholds.generation_counters)
    given = {"warn_percents": [10], "unlimited": True}
    await change(
        till.database, update_team, "design", lambda t: change_settings(t, "team", given), BY
    )
    assert (await till.database.read(thresholds.generation_counters))[KEY] != before[KEY]


# --- who is watched -------------------------------------------------------------------


async def test_an_account_stands_by_what_it_spent_in_its_window(till: Till) -> None:
    await till.limit(TEAM, budget_nanos=5 * CENT, budget_period="day")
    await till.reserve("old", at=NOW_MS - DAY_MS)
    await till.settle("old", CENT, at=NOW_MS - DAY_MS)
    await till.reserve("new")
    await till.settle("new", CENT)
    await till.reserve("held")
    each = (await watched(till, TEAM))[TEAM]
    assert (each.balance.spent_nanos, each.balance.held_nanos) == (CENT, CENT)
    assert (each.limit_nanos, each.first_day, each.team) == (5 * CENT, TODAY, "design")


async def test_of_accounts_without_a_budget_teams_alone_are_watched(till: Till) -> None:
    found = await watched(till, TEAM, KEY, "organisation")
    assert {name: each.limit_nanos for name, each in found.items()} == {TEAM: None}


async def test_a_key_is_told_of_where_its_team_is_and_a_team_where_the_organisation_is(
    till: Till,
) -> None:
    for account in ("organisation", TEAM, KEY):
        await till.limit(account, budget_nanos=5 * CENT, budget_period="month")
    await till.limit(KEY, parent=TEAM)
    await till.limit("organisation", webhook_url=HOOK, warn_percents="[90]")
    found = await watched(till, "organisation", TEAM, KEY)
    assert {(each.webhook_url, each.percents) for each in found.values()} == {(HOOK, (90,))}
    await till.limit(TEAM, webhook_url=TEAM_HOOK, warn_percents="[10, 20]")
    found = await watched(till, "organisation", TEAM, KEY)
    assert (found["organisation"].webhook_url, found["organisation"].percents) == (HOOK, (90,))
    assert (found[TEAM].webhook_url, found[TEAM].percents) == (TEAM_HOOK, (10, 20))
    assert (found[KEY].webhook_url, found[KEY].percents) == (TEAM_HOOK, (10, 20))
    assert (found["organisation"].team, found[KEY].team) == ("", "design")


async def test_what_was_told_counts_in_its_window_and_at_its_limit_alone(till: Till) -> None:
    await till.limit(TEAM, budget_nanos=2 * CENT, budget_period="month")
    await put(
        till.database,
        claim("1", percent=50),
        claim("2", percent=80, first_day="2026-10-01"),
        claim("3", percent=100, limit_nanos=CENT),
    )
    assert (await watched(till, TEAM))[TEAM].notified == {50}


# --- claiming -------------------------------------------------------------------------


async def test_a_mark_is_claimed_once(database: Database, till: Till) -> None:
    assert await put(database, claim("first"), claim("other", percent=80)) == ["first", "other"]
    assert await put(database, claim("second")) == []
    assert await put(database, claim("new limit", limit_nanos=3 * CENT)) == ["new limit"]
    assert await put(database, claim("new window", first_day="2026-12-01")) == ["new window"]


async def test_of_many_processes_one_claims_a_mark(database_url: str, till: Till) -> None:
    engines = [open_engine(database_url) for _ in range(4)]
    claimed = await asyncio.gather(
        *(
            put(engine, *(claim(f"{number}-{percent}", percent=percent) for percent in (80, 50)))
            for number, engine in enumerate(engines)
        )
    )
    for engine in engines:
        await engine.close()
    assert sorted(name.split("-")[1] for names in claimed for name in names) == ["50", "80"]


async def test_what_is_long_over_is_forgotten_and_what_never_ends_is_not(
    database: Database, till: Till
) -> None:
    await put(database, claim("old"), claim("total", period="total", first_day="total"))
    await put(database, claim("new", percent=80), at=NOW_MS + DAY_MS)
    await database.write(lambda tx: thresholds.delete_old(tx, NOW_MS + 1))
    rows = await database.read(lambda tx: tx.fetch("SELECT id FROM warnings ORDER BY id"))
    assert [row["id"] for row in rows] == ["new", "total"]


# --- posting --------------------------------------------------------------------------


async def test_what_is_taken_is_whole_and_goes_to_the_nearest_webhook(till: Till) -> None:
    await till.limit("organisation", webhook_url=HOOK)
    given = claim(refused=True, held_nanos=7)
    await put(till.database, given)
    (due,) = await take(till.database)
    assert due == Due("wrn_1", given.passed, NOW_MS, 1, HOOK)


async def test_what_has_no_webhook_is_never_due(database: Database, till: Till) -> None:
    await put(database, claim(posted=False))
    assert await take(database) == []


async def test_what_is_taken_is_nobody_elses_until_the_lease_runs_out(
    database: Database, till: Till
) -> None:
    await put(database, claim())
    assert [due.attempt for due in await take(database)] == [1]
    assert await take(database, NOW_MS + LEASE_MS - 1) == []
    assert [due.attempt for due in await take(database, NOW_MS + LEASE_MS)] == [2]


async def test_of_many_processes_one_takes_a_warning(database_url: str, till: Till) -> None:
    await put(till.database, *(claim(str(percent), percent=percent) for percent in range(1, 21)))
    engines = [open_engine(database_url) for _ in range(4)]
    names: list[str] = []
    for _ in range(4):  # who comes second to the same rows gets none of them this time
        taken = await asyncio.gather(*(take(engine) for engine in engines))
        names += [due.id for dues in taken for due in dues]
    for engine in engines:
        await engine.close()
    assert len(names) == len(set(names)) == 20


async def test_what_was_delivered_is_never_due_again(database: Database, till: Till) -> None:
    await put(database, claim())
    (due,) = await take(database)
    await database.write(lambda tx: outbox.delivered(tx, due, NOW_MS))
    await database.write(lambda tx: outbox.postpone(tx, due, NOW_MS))
    assert await take(database, NOW_MS + 10 * LEASE_MS) == []


async def test_what_is_put_back_is_due_when_it_was_said(database: Database, till: Till) -> None:
    await put(database, claim())
    (due,) = await take(database)
    await database.write(lambda tx: outbox.postpone(tx, due, NOW_MS + 5))
    assert await take(database, NOW_MS + 4) == []
    assert len(await take(database, NOW_MS + 5)) == 1


async def test_who_lost_its_lease_changes_nothing(database: Database, till: Till) -> None:
    await put(database, claim())
    (late,) = await take(database)
    (again,) = await take(database, NOW_MS + LEASE_MS)
    await database.write(lambda tx: outbox.postpone(tx, late, None))
    await database.write(lambda tx: outbox.postpone(tx, again, NOW_MS))
    assert len(await take(database)) == 1


async def test_the_oldest_go_first_and_the_marks_in_their_order(
    database: Database, till: Till
) -> None:
    await put(database, claim("c", percent=50), at=NOW_MS + 1)
    await put(database, claim("b", percent=80), claim("a", percent=60))
    first = await take(database, NOW_MS + 1, limit=2)
    assert [due.id for due in first] == ["a", "b"]
    assert [due.id for due in await take(database, NOW_MS + 1)] == ["c"]


# --- other alerts -----------------------------------------------------------------------


async def test_an_alert_of_another_event_is_posted_once_like_a_threshold(till: Till) -> None:
    database = till.database
    await till.limit("organisation", webhook_url=HOOK)
    alert = Alert("grt_1", "budget.asked", {"text": "more, please"}, TEAM)

    async def add() -> bool:
        return await database.write(lambda tx: outbox.add(tx, alert, NOW_MS, default_url=""))

    assert [await add(), await add()] == [True, False]
    await put(database, claim())
    threshold, asked = await take(database)
    assert (threshold.table, asked) == ("warnings", Due("grt_1", alert, NOW_MS, 1, HOOK))
    assert await take(database) == []
    assert [due.id for due in await take(database, NOW_MS + LEASE_MS)] == ["wrn_1", "grt_1"]
    await database.write(lambda tx: outbox.postpone(tx, asked, NOW_MS))  # taken by another since
    (again,) = await take(database, NOW_MS + 2 * LEASE_MS, limit=1)
    await database.write(lambda tx: outbox.delivered(tx, again, NOW_MS))
    (last,) = await take(database, NOW_MS + 2 * LEASE_MS)
    assert {again.id, last.id} == {"wrn_1", "grt_1"}
    await database.write(lambda tx: outbox.delivered(tx, last, NOW_MS))
    assert await take(database, NOW_MS + 9 * LEASE_MS) == []


async def test_refused_edits_are_counted_by_account_and_day(till: Till) -> None:
    database = till.database
    first, second = {(TEAM, TODAY): 2, (KEY, TODAY): 1}, {(TEAM, TODAY): 3, (TEAM, "2026-11-24"): 1}
    for counts in (first, second):
        await database.write(functools.partial(refused_edits.add, counts=counts))
    found = await database.read(lambda tx: refused_edits.refused_on(tx, TODAY, [TEAM, KEY]))
    assert found == {TEAM: 5, KEY: 1}
    await database.write(lambda tx: refused_edits.add(tx, {(KEY, "2026-12-24"): 1}))
    assert not await database.read(lambda tx: refused_edits.refused_on(tx, TODAY, [TEAM, KEY]))


async def test_a_grant_raises_the_budget_that_thresholds_are_parts_of(till: Till) -> None:
    await till.limit(TEAM, budget_nanos=CENT, budget_period="month")
    before = await till.database.read(thresholds.generation_counters)
    await till.reserve("a")
    await till.settle("a")
    await till.grant("design", CENT)
    assert (await watched(till, TEAM))[TEAM].limit_nanos == 2 * CENT
    assert (await till.database.read(thresholds.generation_counters)) != before
