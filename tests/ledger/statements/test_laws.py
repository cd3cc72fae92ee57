"""The laws of statements, for any calls and any statement of them.

What was booked agrees with the statement; every balance, report and closed month is proven; and
when the batches are taken back, the last one first, every balance is as it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.accounts.tables.audit import Author
from gateway.database.database import Transaction
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.ledger.rules.statement_limits import allowed
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.statements.previews import Inquiry, preview
from gateway.ledger.tables.close_month import closings
from gateway.ledger.tables.reports import usage_by
from gateway.ledger.tables.rollups import Sums
from gateway.ledger.tables.verify import Verification, verify
from tests.ledger.tables.test_close_month import close
from tests.support.funds import DAY_MS, Till, caller
from tests.support.statements import book_statement, inquiry_of, money_in, undo_batch

CALLERS = (caller("design", "k1"), caller("design", "k2"), caller("press", "k3"))
FIRST_MS = int(datetime(2026, 10, 1, 12, tzinfo=UTC).timestamp()) * 1000
AFTER_MS = FIRST_MS + 70 * DAY_MS
OPTIONS = {
    "call": StatementOptions(),
    "day": StatementOptions(granularity="day"),
    "month": StatementOptions(granularity="month"),
}


@dataclass(frozen=True)
class Bought:
    """A call: its cost (None: an estimate of 40), and what was billed for it (None: nothing)."""

    payer: int
    day: int
    cost: int | None
    billed: int | None


MAYBE = st.none() | st.integers(0, 90)
BOUGHT = st.builds(Bought, st.integers(0, 2), st.integers(0, 30), MAYBE, MAYBE)
EXTRAS = st.lists(st.tuples(st.integers(0, 30), st.integers(-40, 90)), max_size=3)
KINDS = st.lists(st.sampled_from(sorted(OPTIONS)), min_size=1, max_size=3)


def lines_of(kind: str, calls: list[Bought], extras: list[tuple[int, int]]) -> list[StatementLine]:
    """The statement of October, of calls or of sums, with fees and credits."""
    billed = [
        (call.day, call.billed, f"up-c{number}")
        for number, call in enumerate(calls)
        if call.billed is not None
    ]
    if kind == "call":
        lines = [
            StatementLine(0, name, "", FIRST_MS + day * DAY_MS, cost) for day, cost, name in billed
        ]
    else:
        lines = [StatementLine(0, "", "", FIRST_MS + day * DAY_MS, cost) for day, cost, _ in billed]
    return lines + [StatementLine(0, "", "", FIRST_MS + day * DAY_MS, n) for day, n in extras]


async def refused(database: SqliteDatabase, inquiry: Inquiry, by: Author) -> bool:
    """Is it refused whatever change is allowed: no ids, another unit?"""
    found = await preview(database, inquiry, by.now_ms)
    return bool(allowed(found.refused, 100_000))


async def proven(till: Till) -> Verification:
    """The books, whose reports add up to the same on each day, from roll-ups and from rows."""

    async def by_day(tx: Transaction, by: str) -> dict[str, Sums]:
        days: dict[str, Sums] = {}
        for line in await usage_by(tx, by, "2026-10-01", "2027-03-31"):
            days.setdefault(line.groups["day"], Sums()).add(line)
        return {day: sums for day, sums in days.items() if sums != Sums()}

    async def both(tx: Transaction) -> None:
        assert await by_day(tx, "day,upstream,cost_kind,hour") == await by_day(tx, "day")

    await till.database.read(both)
    return await till.proven()


async def hold(
    file: Path, calls: list[Bought], extras: list[tuple[int, int]], kinds: list[str], closed: int
) -> None:
    database = SqliteDatabase(file)
    await migrate(database)
    till = await Till(database).open(callers=CALLERS)
    for number, call in enumerate(calls):
        at = FIRST_MS + call.day * DAY_MS
        await till.reserve(f"c{number}", 40, by=CALLERS[call.payer], at=at)
        await till.settle(f"c{number}", call.cost, at=at)
    before, spent = await money_in(database), (await proven(till)).spent_nanos
    guesses = (await proven(till)).estimated_calls
    batches = []
    for place, kind in enumerate(kinds):
        by = Author("test", AFTER_MS + place)
        if place == closed:
            await close(till, "2026-10", by, with_estimates=True)
        lines = lines_of(kind, calls, extras)
        inquiry = inquiry_of(lines, OPTIONS[kind], "2026-10")
        if not lines or await refused(database, inquiry, by):
            continue
        shown, batch = await book_statement(database, inquiry, by)
        batches.append(batch)
        after = (await preview(database, inquiry, by.now_ms)).comparison
        assert (after.off_nanos, after.changes) == (0, 0)
        assert sum(shift.nanos for shift in shown.comparison.shifts) == -shown.comparison.off_nanos
        await proven(till)
    months = await database.read(closings)
    for place, batch in enumerate(reversed(batches)):
        await undo_batch(database, batch.id, Author("test", AFTER_MS + 40 * DAY_MS + place))
        await proven(till)
    found = await database.read(verify)
    assert (found.spent_nanos, found.estimated_calls) == (spent, guesses)
    assert await money_in(database) == before
    assert await database.read(closings) == months
    await database.close()


@pytest.mark.parametrize(
    "examples", [pytest.param(5, id="short"), pytest.param(200, id="long", marks=pytest.mark.long)]
)
def test_what_is_booked_agrees_and_what_is_taken_back_leaves_no_trace(
    tmp_path: Path, examples: int
) -> None:
    numbers = count()

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.lists(BOUGHT, max_size=6), EXTRAS, KINDS, st.integers(0, 3))
    def law(
        calls: list[Bought], extras: list[tuple[int, int]], kinds: list[str], closed: int
    ) -> None:
        asyncio.run(hold(tmp_path / f"{next(numbers)}.db", calls, extras, kinds, closed))

    law()
