"""End users in the ledger: told apart up to a number, each with limits, and forgotten."""

from __future__ import annotations

import asyncio

import pytest

from gateway.accounts.rules.end_users import FORGOTTEN, OTHERS
from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.rules.budget import EndUserMissing, OverBudget
from gateway.ledger.rules.usage_grouping import UNTAGGED
from gateway.ledger.tables import close_month, end_users, forget_user, reports
from gateway.ledger.tables.corrections import correct
from gateway.ledger.tables.usage import record
from gateway.model.outcome import Outcome
from tests.ledger.tables.test_close_month import DECEMBER_MS, close
from tests.ledger.tables.test_usage import row
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till, caller, forget

ADA, BOB = caller(end_user="ada"), caller(end_user="bob")
ADA_ELSEWHERE = caller(key_id="k2", end_user="ada")


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open(callers=(ADA, ADA_ELSEWHERE, caller("press", "k9")))


async def spent_by_user(till: Till) -> dict[str, int]:
    lines = await till.database.read(
        lambda tx: reports.usage_by(tx, "user", "2026-11-01", "2026-12-31")
    )
    return {line.group: line.spent_nanos for line in lines}


async def enrol(till: Till, *names: str, most: int, team: str = "design") -> set[str]:
    return set(await till.database.write(lambda tx: end_users.enrol(tx, team, names, most, NOW_MS)))


async def test_above_the_number_of_a_team_new_users_are_others(till: Till) -> None:
    assert await enrol(till, "ada", "", "bob", "eve", most=2) == {"ada", "bob"}
    assert await enrol(till, "eve", "bob", most=2) == {"bob"}
    assert await enrol(till, "eve", most=2, team="press") == {"eve"}

    async def counted(name: str) -> str:
        return await till.database.read(lambda tx: end_users.counted_as(tx, "design", name, 2))

    assert [await counted(name) for name in ("ada", "eve", "")] == ["ada", OTHERS, ""]


async def test_the_number_holds_when_many_come_at_once(till: Till) -> None:
    found = await asyncio.gather(*(enrol(till, f"u{n}", most=5) for n in range(20)))
    assert sum(map(len, found)) == 5


async def test_the_budget_of_a_user_is_over_all_keys_of_the_team(till: Till) -> None:
    await till.limit("team:design", end_user_budget_nanos=2 * CENT, budget_period="month")
    await till.reserve("a", by=ADA)
    await till.settle("a", CENT)
    await till.reserve("b", by=ADA_ELSEWHERE)
    with pytest.raises(OverBudget) as over:
        await till.reserve("c", by=ADA)
    assert over.value.account.id == "user:team:design/ada"
    assert (over.value.level, over.value.spent, over.value.held) == ("user", CENT, CENT)
    await till.reserve("d", by=BOB)
    await till.proven()


async def test_the_budget_of_a_user_of_a_key_is_of_that_key_alone(till: Till) -> None:
    await till.limit("key:k1", end_user_budget_nanos=CENT)
    await till.reserve("a", by=ADA)
    with pytest.raises(OverBudget):
        await till.reserve("b", by=ADA)
    await till.reserve("c", by=ADA_ELSEWHERE)


async def test_the_budget_starts_again_with_the_accounts_period(till: Till) -> None:
    await till.limit("team:design", end_user_budget_nanos=CENT, budget_period="day")
    await till.reserve("a", by=ADA)
    with pytest.raises(OverBudget):
        await till.reserve("b", by=ADA)
    await till.reserve("c", by=ADA, at=NOW_MS + DAY_MS)


async def test_a_new_limit_counts_what_was_spent_before_it(till: Till) -> None:
    await till.reserve("a", by=ADA)
    await till.settle("a", CENT)
    await till.limit("team:design", end_user_images_per_day=1)
    with pytest.raises(OverBudget) as over:
        await till.reserve("b", by=ADA)
    assert (over.value.kind, over.value.limit, over.value.spent) == ("images", 1, 1)


async def test_a_call_without_a_user_holds_nothing_where_users_have_limits(till: Till) -> None:
    await till.limit("key:k1", end_user_images_per_day=5)
    with pytest.raises(EndUserMissing):
        await till.reserve("a", by=caller())
    assert (await till.proven()).open_reservations == 0


async def test_what_is_left_is_the_least_of_the_users_budgets_too(till: Till) -> None:
    await till.limit("team:design", budget_nanos=9 * CENT, end_user_budget_nanos=4 * CENT)
    await till.limit("key:k1", end_user_budget_nanos=3 * CENT)
    granted = await till.reserve("a", by=ADA)
    assert granted.remaining_nanos == 2 * CENT
    settled = await till.settle("a", CENT // 2)
    assert settled.remaining_nanos == 3 * CENT - CENT // 2


async def test_requests_are_counted_by_user_and_hits_too(till: Till) -> None:
    rows = [
        row(1, end_user="ada"), row(2, end_user="bob"), row(3, end_user="eve"), row(4),
    ]  # fmt: skip
    await till.database.write(lambda tx: record(tx, rows, most_end_users=2))
    lines = await till.database.read(lambda tx: reports.usage_by(tx, "user", TODAY, TODAY))
    assert {line.group: line.calls for line in lines} == {
        "ada": 1, "bob": 1, OTHERS: 1, UNTAGGED: 1,
    }  # fmt: skip
    await till.proven()


async def bought(till: Till) -> None:
    """Ada's: a known call, one corrected on the next day, an estimate, a hit; Bob's: a call."""
    for name, by in (("a", ADA), ("b", ADA_ELSEWHERE), ("c", ADA), ("d", BOB)):
        await till.reserve(name, by=by)
        await till.settle(name, None if name == "c" else CENT)
    author = Author("test", NOW_MS + DAY_MS)
    await till.database.write(lambda tx: correct(tx, "req-b", 3 * CENT, author))
    rows = [
        row(1, end_user="ada", aside="digest", fingerprint="fp"),
        row(2, end_user="bob", fingerprint="fp", outcome=Outcome.HIT),
    ]
    await till.database.write(lambda tx: record(tx, rows))


async def test_a_forgotten_users_money_stays_and_the_name_goes(till: Till) -> None:
    await bought(till)
    await enrol(till, "ada", "bob", most=2)
    await forget(till, "ada")
    await till.database.write(lambda tx: forget_user.drop_accounts(tx, ["ada"], None))
    await till.proven()
    assert await enrol(till, "eve", most=2) == {"eve"}
    assert await spent_by_user(till) == {FORGOTTEN: 5 * CENT, "bob": CENT}
    for table in (
        "ledger",
        "usage_rows",
        "rollups",
        "month_rollups",
        "team_rollups",
        "balances",
        "end_users",
        "reservations",
    ):
        rows = f"SELECT * FROM {table}"  # noqa: S608
        found = await till.database.read(lambda tx, sql=rows: tx.fetch(sql))  # type: ignore[misc]
        assert "ada" not in str(found), table
    asides = await till.database.read(lambda tx: tx.fetch("SELECT aside FROM usage_rows"))
    assert {each["aside"] for each in asides} == {""}


async def test_a_call_in_flight_is_forgotten_when_it_has_ended(till: Till) -> None:
    await till.reserve("a", by=ADA)
    await forget(till, "ada")
    await till.settle("a", CENT)
    assert await spent_by_user(till) == {"ada": CENT}
    await forget(till, "ada")
    assert await spent_by_user(till) == {FORGOTTEN: CENT}
    await till.proven()


async def test_what_becomes_known_of_a_forgotten_users_call_is_nobodys(till: Till) -> None:
    await bought(till)
    await forget(till, "ada")
    await till.settle("c", 2 * CENT)
    assert await spent_by_user(till) == {FORGOTTEN: 6 * CENT, "bob": CENT}
    await till.proven()


async def test_one_team_forgets_a_user_whom_another_keeps(till: Till) -> None:
    await bought(till)
    await till.reserve("p", by=caller("press", "k9", end_user="ada"))
    await till.settle("p", CENT)
    await forget(till, "ada", "press")
    assert await spent_by_user(till) == {"ada": 5 * CENT, FORGOTTEN: CENT, "bob": CENT}
    await till.proven()


async def test_forgetting_changes_no_closed_month(till: Till) -> None:
    await bought(till)
    await close(till, with_estimates=True)
    before = await till.database.read(close_month.closings)
    await forget(till, "ada")
    proven = await till.proven()
    assert proven.closed_through == "2026-11-30"
    assert await till.database.read(close_month.closings) == before
    assert before[0].closed_ms == DECEMBER_MS


async def test_what_is_kept_of_a_user_names_what_others_used(till: Till) -> None:
    await bought(till)
    await till.reserve("f", by=ADA)
    kept = await till.database.read(lambda tx: forget_user.kept_of(tx, ["ada"], None))
    assert {(each.key_id, each.calls, each.spent_nanos) for each in kept.paid} == {
        ("k1", 2, 2 * CENT), ("k2", 1, 3 * CENT),
    }  # fmt: skip
    assert {each.request_id for each in kept.bought} == {"req-a", "req-b", "req-c"}
    assert {each.used_by_others for each in kept.bought} == {1}
    assert (kept.requests, kept.in_flight, kept.held_nanos) == (1, 1, CENT)
