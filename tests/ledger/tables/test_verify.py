# ruff: noqa: S608 - made of constants
"""Verification: whatever of the books does not agree is found, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.tables import corrections, usage, verify
from gateway.ledger.tables.rollups import COLUMNS
from gateway.ledger.tables.verify import Difference, Verification
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from tests.ledger.tables.test_usage import record, row
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, TODAY, Till, caller

YESTERDAY = day_of(NOW_MS - DAY_MS, Till.zone)
OTHER = caller("press", "k9", tags={"project": "zebra"})
MINE: dict[str, Any] = {
    "model": "deepshi-image-1", "owner": "ann", "cost_centre": "cc-7", "tags": {"project": "atlas"},
}  # fmt: skip
PLACE = 'design/k1 model=deepshi-image-1 owner=ann cost_centre=cc-7 tags={"project":"atlas"}'


@pytest.fixture
async def till(database: Database) -> Till:
    """Four calls of two models (a correction, an estimate, one still held), and requests."""
    till = await Till(database).open(callers=(CALLER, OTHER))
    await till.reserve("a")
    await till.settle("a", CENT)
    await till.reserve("b", 3 * CENT, model="m2")
    await till.settle("b", None)
    await till.reserve("c", 4 * CENT, by=OTHER, at=NOW_MS - DAY_MS)
    await till.settle("c", 2 * CENT)
    await till.reserve("held", 5 * CENT)
    await till.reserve("d", model="m2")
    await till.settle("d", CENT)
    by = Author("root", NOW_MS, "")
    await till.database.write(lambda tx: corrections.correct(tx, "req-d", 0, by))
    await record(
        till.database,
        [
            row(1, outcome=Outcome.MISS, **MINE),
            row(2, cause="reuse", saved_nanos=CENT, **MINE),
            row(3, outcome=Outcome.FAILED, status=502, **MINE),
            row(4, cause="reuse", saved_nanos=CENT, day=YESTERDAY, **MINE),
            row(5, cause="reuse", saved_nanos=CENT, day=YESTERDAY, **MINE),
        ],
    )
    return till


async def verified(till: Till) -> Verification:
    return await till.database.read(verify.verify)


COARSER = ("month roll-up", "team roll-up")


async def tamper(till: Till, sql: str) -> None:
    await till.database.write(lambda tx: tx.fetch(sql))


async def found(till: Till, sql: str) -> list[Difference]:
    """What is found after this statement, and nothing before it; not what follows of roll-ups."""
    assert (await verified(till)).differences == ()
    await tamper(till, sql)
    differences = (await verified(till)).differences
    return [each for each in differences if not each.what.startswith(COARSER)]


async def test_books_that_agree_are_proven_with_their_sums(till: Till) -> None:
    assert await verified(till) == Verification(
        differences=(),
        spent_nanos=6 * CENT,
        held_nanos=5 * CENT,
        estimated_nanos=3 * CENT,
        estimated_calls=1,
        ledger_rows=5,
        open_reservations=1,
        requests_from=YESTERDAY,
    )


async def test_an_empty_state_agrees(database: Database) -> None:
    assert await database.read(verify.verify) == Verification((), 0, 0, 0, 0, 0, 0, None)


MONEY = "outcome = '' AND model = 'deepshi-image-1' AND team = 'design'"


@pytest.mark.parametrize(
    ("column", "booked", "proven"),
    [
        ("spent_nanos", CENT + 1, CENT),
        ("paid_calls", 2, 1),
        ("images", 2, 1),
        ("estimated_calls", 1, 0),
        ("estimated_nanos", 1, 0),
        ("corrections_nanos", 1, 0),
    ],
)
async def test_every_sum_of_money_in_a_roll_up_is_proven(
    till: Till, column: str, booked: int, proven: int
) -> None:
    assert await found(till, f"UPDATE rollups SET {column} = {column} + 1 WHERE {MONEY}") == [
        Difference(f"roll-up {column.replace('_', ' ')}", PLACE, TODAY, booked, proven)
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("team", "press"),
        ("key_id", "k9"),
        ("model", "m2"),
        ("owner", "bob"),
        ("cost_centre", "cc-8"),
        ("tags", '{"project":"zebra"}'),
    ],
)
async def test_money_that_is_rolled_up_by_the_wrong_name_is_found(
    till: Till, column: str, value: str
) -> None:
    differences = await found(till, f"UPDATE rollups SET {column} = '{value}' WHERE {MONEY}")
    spent = {each.account: each for each in differences if each.what == "roll-up spent nanos"}
    assert len(spent) == 2
    assert (spent[PLACE].booked, spent[PLACE].proven) == (0, CENT)


@pytest.mark.parametrize(
    ("table", "place", "when"),
    [
        ("month_rollups", PLACE, TODAY[:7]),
        ("team_rollups", "design model=deepshi-image-1", TODAY),
    ],
)
async def test_every_coarser_sum_is_proven(till: Till, table: str, place: str, when: str) -> None:
    await tamper(
        till,
        f"UPDATE {table} SET {', '.join(f'{name} = {name} + 1' for name in COLUMNS)} "
        f"WHERE {MONEY} AND {table.split('_')[0].replace('team', 'day')} = '{when}'",
    )
    what = table.replace("_rollups", " roll-up ")
    differences = (await verified(till)).differences
    assert {(each.account, each.day, each.booked - each.proven) for each in differences} == {
        (place, when, 1)
    }
    assert {each.what for each in differences} == {
        what + name.replace("_", " ") for name in COLUMNS
    }


@pytest.mark.parametrize(("table", "coarser"), [("rollups", {"month", "team"}),
                                                ("month_rollups", {"month"}),
                                                ("team_rollups", {"team"})])  # fmt: skip
async def test_a_row_that_only_some_tables_of_roll_ups_have_is_found(
    till: Till, table: str, coarser: set[str]
) -> None:
    await tamper(till, f"DELETE FROM {table} WHERE {MONEY}")
    differences = (await verified(till)).differences
    assert {each.what.split()[0] for each in differences} - {"roll-up"} == coarser


async def test_money_on_a_row_of_requests_is_found(till: Till) -> None:
    (difference,) = await found(
        till, f"UPDATE rollups SET spent_nanos = 7 WHERE outcome = 'failed' AND day = '{TODAY}'"
    )
    assert difference == Difference("roll-up spent nanos", f"{PLACE} outcome=failed", TODAY, 7, 0)


@pytest.mark.parametrize(
    ("column", "day"),
    [
        ("calls", TODAY),
        ("errors", TODAY),
        ("saved_nanos", TODAY),
        ("errors", YESTERDAY),
        ("saved_nanos", YESTERDAY),
    ],
)
async def test_every_sum_of_requests_in_a_roll_up_is_proven(
    till: Till, column: str, day: str
) -> None:
    (difference,) = await found(
        till,
        f"UPDATE rollups SET {column} = {column} + 1 WHERE outcome = 'hit' AND day = '{day}'",
    )
    assert (difference.what, difference.day) == (f"roll-up {column.replace('_', ' ')}", day)
    assert difference.booked == difference.proven + 1


async def test_requests_on_a_row_of_money_are_found_on_any_day(till: Till) -> None:
    await till.database.write(lambda tx: usage.fold(tx, "2026-12-31"))
    (difference,) = await found(
        till, "UPDATE rollups SET saved_nanos = 1 WHERE outcome = '' AND team = 'press'"
    )
    assert difference.what == "roll-up saved nanos"


async def test_days_whose_single_requests_are_dropped_are_not_held_against_the_books(
    till: Till,
) -> None:
    await till.database.write(lambda tx: usage.fold(tx, TODAY, 1))
    verification = await verified(till)
    assert (verification.differences, verification.requests_from) == ((), TODAY)
    await till.database.write(lambda tx: usage.fold(tx, "2026-12-31"))
    verification = await verified(till)
    assert (verification.differences, verification.requests_from) == ((), None)


async def test_a_single_request_that_is_gone_from_a_later_day_is_found(till: Till) -> None:
    differences = await found(till, "DELETE FROM usage_rows WHERE request_id = 'req-2'")
    assert {each.what: each.booked - each.proven for each in differences} == {
        "roll-up calls": 1,
        "roll-up saved nanos": CENT,
    }


@pytest.mark.parametrize("account", ["organisation", "team:design", "key:k1"])
@pytest.mark.parametrize("day", [TODAY, "total"])
@pytest.mark.parametrize("column", ["spent_nanos", "held_nanos", "images", "images_held"])
async def test_every_balance_is_proven(till: Till, account: str, day: str, column: str) -> None:
    (difference,) = await found(
        till,
        f"UPDATE balances SET {column} = {column} - 1 "
        f"WHERE account = '{account}' AND day = '{day}'",
    )
    assert (difference.account, difference.day) == (account, day)
    assert difference.what == column.replace("_", " ")
    assert difference.booked == difference.proven - 1


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM ledger WHERE id = 'a'",
        "DELETE FROM ledger WHERE id = 'd~1'",
        "DELETE FROM reservations",
        f"DELETE FROM rollups WHERE {MONEY}",
        "DELETE FROM balances WHERE account = 'key:k1' AND day = 'total'",
        "UPDATE ledger SET cost_centre = 'cc-8' WHERE id = 'a'",
        "UPDATE ledger SET estimated = 1 WHERE id = 'a'",
        "UPDATE ledger SET day = '2026-11-20' WHERE id = 'a'",
    ],
)
async def test_a_row_that_is_gone_or_changed_is_found(till: Till, sql: str) -> None:
    assert await found(till, sql)


async def test_a_call_that_is_open_and_in_the_ledger_is_found(till: Till) -> None:
    differences = await found(till, "UPDATE reservations SET id = 'a' WHERE id = 'held'")
    assert differences == [Difference("open and in the ledger", "a", TODAY, 1, 0)]


async def test_the_books_agree_at_every_moment_while_money_moves(till: Till) -> None:
    done = asyncio.Event()

    async def buy(number: int) -> None:
        await till.reserve(f"r{number}")
        await till.settle(f"r{number}", None if number % 3 else CENT)
        by = Author("root", NOW_MS, "")
        await till.database.write(
            lambda tx: corrections.correct(tx, f"req-r{number}", number % 2 * CENT, by)
        )
        await record(till.database, [row(100 + number, cause="reuse", saved_nanos=1, **MINE)])

    async def look_again_and_again() -> int:
        looks = 0
        while not done.is_set():
            assert (await verified(till)).differences == ()
            looks += 1
        return looks

    looking = asyncio.create_task(look_again_and_again())
    await asyncio.gather(*(buy(number) for number in range(25)))
    done.set()
    assert await looking > 0
