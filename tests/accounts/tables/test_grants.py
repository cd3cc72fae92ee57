"""Grants: asked for once, made, ended; and in which windows and days they count. Both engines."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from gateway.accounts.rules.errors import AccountEnded, AlreadyExists, BadValue, NotFound
from gateway.accounts.rules.organisation_file import parse_organisation_file
from gateway.accounts.tables import apply, grants, keys, teams
from gateway.accounts.tables.audit import Author, list_audit
from gateway.accounts.tables.grants import FOREVER, GrantRecord
from gateway.database.database import Database
from gateway.ledger.rules.budget import OverBudget
from gateway.model.caller import Limits
from tests.support.accounts import change, look, team_with_key
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till

BY = Author("cli:ada", NOW_MS, "launch")
TEAM = "team:design"


@pytest.fixture
async def till(database: Database) -> Till:
    """A team with a cent a month and a key without a budget; it is the 25th of November."""
    made = await Till(database).open()
    await made.limit(TEAM, budget_nanos=CENT, budget_period="month")
    return made


async def grant(
    till: Till, nanos: int = CENT, until: str | None = None, name: str = "design"
) -> GrantRecord:
    return await change(till.database, grants.grant, name, nanos, until, BY, UTC)


async def can_buy(till: Till, pictures: int, *, at: int = NOW_MS) -> bool:
    """Whether so many pictures at a cent each can be reserved at once; none is."""
    try:
        await till.reserve("probe", pictures * CENT, at=at)
    except OverBudget:
        return False
    return await till.void("probe")


async def test_a_grant_raises_the_budget_of_its_window_alone(till: Till) -> None:
    assert not await can_buy(till, 2)
    made = await grant(till, 2 * CENT)
    assert (made.first_day, made.last_day) == ("2026-11-01", "2026-11-30")
    assert await can_buy(till, 3)
    assert not await can_buy(till, 4)
    assert not await can_buy(till, 2, at=NOW_MS + 6 * DAY_MS)  # the 1st of December


async def test_a_grant_counts_through_its_last_day(till: Till) -> None:
    assert not (await grant(till, until="2026-11-26")).cut
    assert await can_buy(till, 2, at=NOW_MS + DAY_MS)
    assert not await can_buy(till, 2, at=NOW_MS + 2 * DAY_MS)


async def test_a_grant_never_outlives_its_window(till: Till) -> None:
    made = await grant(till, until="2026-12-24")
    assert (made.last_day, made.cut) == ("2026-11-30", True)


async def test_a_grant_to_a_budget_for_ever_has_no_end_but_its_own(till: Till) -> None:
    await till.limit(TEAM, budget_period="total")
    assert (await grant(till)).last_day == FOREVER
    assert (await grant(till, until="2027-01-01")).last_day == "2027-01-01"
    assert await can_buy(till, 3)
    assert await can_buy(till, 2, at=NOW_MS + 300 * DAY_MS)
    assert not await can_buy(till, 3, at=NOW_MS + 300 * DAY_MS)


@pytest.mark.parametrize(
    "changed", [{"budget_period": "day"}, {"budget_period": "week"}, {"budget_month_day": 20}]
)
async def test_a_grant_ends_with_a_window_that_is_changed(
    till: Till, changed: dict[str, Any]
) -> None:
    await grant(till)
    await till.limit(TEAM, **changed)
    assert not await can_buy(till, 2)


async def test_a_revoked_grant_counts_no_more(till: Till) -> None:
    made = await grant(till)
    await till.reserve("r1", 2 * CENT)
    ended = await change(till.database, grants.revoke_grant, made.id, BY)
    assert ended.status == "revoked"
    assert await change(till.database, grants.revoke_grant, made.id, BY) == ended
    assert not await can_buy(till, 1)
    await till.settle("r1", 2 * CENT)  # what was reserved before is booked all the same
    assert (await till.stands())["team"].left_nanos == 0


async def test_grants_are_audited(till: Till) -> None:
    made = await grant(till)
    await change(till.database, grants.revoke_grant, made.id, BY)
    rows = await look(till.database, list_audit, subject=TEAM)
    assert [(row.actor, row.action, row.reason) for row in rows] == [
        ("cli:ada", "budget.grant", "launch"),
        ("cli:ada", "budget.revoke", "launch"),
    ]
    granted = {"grant": made.id, "budget": "design", "usd": "0.01", "until": "2026-11-30"}
    assert (rows[0].new, rows[1].old) == (granted, granted)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"name": "press"}, NotFound),
        ({"name": "design/none"}, NotFound),
        ({"name": "design/k1"}, BadValue),  # has no budget of its own
        ({"name": "organisation"}, BadValue),
        ({"nanos": 0}, BadValue),
        ({"nanos": grants.LARGEST_NANOS}, BadValue),
        ({"until": "2026-11-24"}, BadValue),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(
    till: Till, given: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await grant(till, **given)
    assert await look(till.database, grants.list_grants, limit=10) == []


async def test_an_ended_account_gets_no_grant(database: Database) -> None:
    made = await team_with_key(database)
    await change(database, keys.revoke_key, made.key.id, BY)
    await change(database, teams.archive_team, "ops", BY)
    for name in ("ops", "ops/laptop"):
        with pytest.raises(AccountEnded):
            await change(database, grants.grant, name, CENT, None, BY, UTC)


# --- requests -----------------------------------------------------------------------------


async def ask(till: Till, nanos: int = CENT, until: str | None = None) -> GrantRecord:
    by = Author("key:k1", NOW_MS, "launch")
    return await change(till.database, grants.ask, "design", nanos, until, by, UTC, "k1")


async def test_a_request_raises_nothing_until_it_is_granted(till: Till) -> None:
    asked = await ask(till)
    assert asked.status == "asked"
    assert not await can_buy(till, 2)
    made = await change(till.database, grants.grant_request, asked.id, BY, UTC)
    assert (made.id, made.status, made.asked_by) == (asked.id, "granted", "k1")
    assert (made.granted_by, made.last_day) == ("cli:ada", "2026-11-30")
    assert await can_buy(till, 2)


async def test_a_request_may_be_granted_at_another_amount_and_day(till: Till) -> None:
    asked = await ask(till, 5 * CENT, "2026-11-29")
    made = await change(
        till.database, grants.grant_request, asked.id, BY, UTC, nanos=CENT, until_day=TODAY
    )
    assert (made.nanos, made.last_day) == (CENT, TODAY)
    assert not await can_buy(till, 3)


async def test_a_budget_has_one_open_request(till: Till) -> None:
    first = await ask(till)
    with pytest.raises(AlreadyExists, match=first.id):
        await ask(till)
    declined = await change(till.database, grants.revoke_grant, first.id, BY)
    assert declined.status == "declined"
    assert (await ask(till)).status == "asked"


async def test_a_request_is_decided_once(till: Till) -> None:
    asked = await ask(till)
    await change(till.database, grants.grant_request, asked.id, BY, UTC)
    with pytest.raises(BadValue, match="already"):
        await change(till.database, grants.grant_request, asked.id, BY, UTC)
    assert not await can_buy(till, 3)


async def test_a_team_sees_its_grants_and_those_of_its_keys(database: Database) -> None:
    for team in ("ops", "press"):
        await team_with_key(database, team, limits=Limits(budget_nanos=CENT))
        for name in (team, f"{team}/laptop"):
            await change(database, grants.grant, name, CENT, None, BY, UTC)
    found = await look(database, grants.list_grants, team="ops", limit=10)
    assert [each.budget for each in found] == ["ops", "ops/laptop"]
    assert len(await look(database, grants.list_grants, limit=10)) == 4
    page = await look(database, grants.list_grants, after=found[0].id, limit=1)
    assert [each.budget for each in page] == ["ops/laptop"]


async def test_apply_leaves_grants_alone(till: Till) -> None:
    await grant(till)
    file = parse_organisation_file({"teams": {"design": {"budget_usd": "0.01", "owner": "Ada"}}})
    await change(till.database, apply.apply, file, BY, defaults=Limits(), prune=True)
    assert (await till.stands())["team"].limit_nanos == 2 * CENT
    assert await can_buy(till, 2)
