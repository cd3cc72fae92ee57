"""Batches, and what takes them back: afterwards every balance is as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.accounts.tables.audit import Author, list_audit
from gateway.database.database import Database
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.tables.batches import list_batches, reconciled
from gateway.ledger.tables.close_month import closings
from gateway.ledger.tables.corrections import correct
from gateway.ledger.tables.reports import ledger_rows, usage_by
from gateway.ledger.tables.undo import NotUndoable, plan_undo
from tests.ledger.tables.test_close_month import DECEMBER_MS, close
from tests.ledger.tables.test_reconcile import line
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till
from tests.support.statements import book_statement, inquiry_of, money_in, undo_batch

BY = Author("test", NOW_MS, "the bill")
LATER = Author("test", DECEMBER_MS)
BY_CALL = StatementOptions()
BY_DAY = StatementOptions(granularity="day")
FEE = line("", 5 * CENT, line_item="platform")


@pytest.fixture
async def till(database: Database) -> Till:
    till = await Till(database).open()
    for name, cost in (("same", CENT), ("dear", 2 * CENT), ("guess", None), ("extra", 3 * CENT)):
        await till.reserve(name, 4 * CENT)
        await till.settle(name, cost)
    return till


BILL = (
    line("up-same", CENT),
    line("up-dear", 2 * CENT + 1),
    line("up-guess", 4 * CENT),
    line("new", 7 * CENT, "req-nobody", n=2),
    line("up-gone", -CENT),
    FEE,
)


async def booked(till: Till, *lines: StatementLine, by: Author = BY) -> str:
    _, batch = await book_statement(till.database, inquiry_of(lines, BY_CALL), by)
    await till.proven()
    return batch.id


async def undone(till: Till, batch_id: str, by: Author = BY) -> int:
    rows = await undo_batch(till.database, batch_id, by)
    await till.proven()
    return rows


async def estimates(till: Till) -> int:
    return (await till.proven()).estimated_calls


async def test_a_reconciliation_is_taken_back_and_can_be_booked_again(till: Till) -> None:
    before = await money_in(till.database)
    batch = await booked(till, *BILL)
    after = await money_in(till.database)
    assert (before != after, await estimates(till)) == (True, 0)
    assert await undone(till, batch) == 6
    assert (await money_in(till.database), await estimates(till)) == (before, 1)
    again = await booked(till, *BILL)
    assert (again != batch, await money_in(till.database)) == (True, after)
    assert await undone(till, again) == 6
    assert (await money_in(till.database), await estimates(till)) == (before, 1)
    actions = [row.action for row in await till.database.read(list_audit)]
    assert (actions.count("ledger.undo"), actions[-1]) == (4, "ledger.undo")


async def test_reports_by_kind_and_day_are_as_before(till: Till) -> None:
    async def reports() -> list[object]:
        found: list[object] = []
        for by in ("cost_kind", "day", "team", "upstream"):
            lines = await till.database.read(
                lambda tx, by=by: usage_by(tx, by, "2026-11-01", "2026-11-30")  # type: ignore[misc]
            )
            spent = [each for each in lines if each.spent_nanos]
            found += [(each.group, each.spent_nanos, each.paid_calls) for each in spent]
        return found

    before = await reports()
    await undone(till, await booked(till, *BILL))
    assert await reports() == before


async def test_sums_are_taken_back_and_their_estimates_are_estimates_again(till: Till) -> None:
    before = await money_in(till.database)
    lines = [StatementLine(1, "", "", NOW_MS, 9 * CENT, "deepshi-image-1")]
    _, batch = await book_statement(till.database, inquiry_of(lines, BY_DAY), LATER)
    assert await estimates(till) == 0
    assert (await till.stands())["team"].spent_nanos == 9 * CENT
    assert await undone(till, batch.id) == 2
    assert (await money_in(till.database), await estimates(till)) == (before, 1)


async def test_in_a_month_closed_since_it_is_booked_in_the_open_one(till: Till) -> None:
    before = await money_in(till.database)
    batch = await booked(till, *BILL)
    closed = await close(till)
    assert await undone(till, batch, LATER) == 6
    late = await till.database.read(lambda tx: ledger_rows(tx, "2026-12-01", "2026-12-31"))
    assert {(each.day, each.late_for, each.budget_day) for each in late} == {
        ("2026-12-01", TODAY, TODAY)
    }
    assert await money_in(till.database) == before
    assert await till.database.read(closings) == [closed]
    assert closed.contents is not None


async def test_what_is_booked_late_counts_in_reports_and_in_no_budget_of_today(till: Till) -> None:
    await till.limit("team:design", budget_nanos=20 * CENT, budget_period="month")
    before = await money_in(till.database)
    await close(till, with_estimates=True)
    batch = await booked(till, *BILL, by=LATER)
    december = (await till.stands(at=DECEMBER_MS))["team"]
    november = (await till.stands())["team"]
    assert (december.spent_nanos, november.spent_nanos) == (0, 7 * CENT + 1)
    (report,) = await till.database.read(lambda tx: usage_by(tx, "day", "2026-12-01", "2026-12-31"))
    assert report.spent_nanos == 8 * CENT + 1
    by = Author("test", DECEMBER_MS + 40 * DAY_MS)
    await close(till, "2026-12", by)
    await undone(till, batch, by)
    assert await money_in(till.database) == before
    assert (await till.stands(at=by.now_ms))["team"].spent_nanos == 0


async def test_a_correction_by_hand_is_taken_back(till: Till) -> None:
    before = await money_in(till.database)
    write = till.database.write
    found = await write(lambda tx: correct(tx, "req-guess", CENT, BY))
    assert (await estimates(till), found.batch[:4]) == (0, "bat_")
    assert await undone(till, found.batch) == 1
    assert (await money_in(till.database), await estimates(till)) == (before, 1)
    settled = await till.settle("guess", 2 * CENT)
    assert (settled.cost_nanos, await estimates(till)) == (2 * CENT, 0)


async def test_what_was_changed_since_is_taken_back_first(till: Till) -> None:
    before = await money_in(till.database)
    batch = await booked(till, *BILL)
    since = await till.database.write(lambda tx: correct(tx, "req-dear", 9 * CENT, BY))
    with pytest.raises(NotUndoable, match=f"req-dear was changed since, by {since.batch}"):
        await undone(till, batch)
    await undone(till, since.batch)
    await undone(till, batch)
    assert await money_in(till.database) == before


async def test_a_batch_is_taken_back_once(till: Till) -> None:
    batch = await booked(till, *BILL)
    await undone(till, batch)
    for name, told in (
        (batch, "was taken back already"),
        (f"{batch}-undo", "book that again"),
        ("bat_none", "there is no batch"),
    ):
        with pytest.raises(NotUndoable, match=told):
            await till.database.read(lambda tx, name=name: plan_undo(tx, name, BY))  # type: ignore[misc]


async def test_a_batch_is_listed_with_its_sum_and_says_what_is_reconciled(till: Till) -> None:
    batch = await booked(till, *BILL)
    (found,) = await till.database.read(list_batches)
    assert (found.id, found.ledger_rows, found.cost_nanos) == (batch, 6, 8 * CENT + 1)
    assert (found.actor, found.reason, found.period) == ("test", "the bill", "2026-11")
    read = till.database.read
    assert await read(lambda tx: reconciled(tx, "2026-11")) == {"deepshi": batch}
    await undone(till, batch)
    assert await read(lambda tx: reconciled(tx, "2026-11")) == {}


async def test_many_rows_are_taken_back_in_parts(till: Till) -> None:
    lines = [line(f"u{number}", CENT) for number in range(150)]
    fees = [replace(FEE, number=number, cost_nanos=number) for number in range(1, 120)]
    before = await money_in(till.database)
    batch = await booked(till, *lines, *fees)
    assert await undone(till, batch) == 150 + 119 + 4
    assert await money_in(till.database) == before
