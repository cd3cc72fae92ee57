"""A statement beside the ledger, on both engines: what is booked makes both the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.accounts.tables.audit import Author, list_audit
from gateway.database.database import Database
from gateway.ledger.rules.payer import UNATTRIBUTED
from gateway.ledger.rules.statement_lines import StatementLine, StatementTotals, sum_up
from gateway.ledger.rules.statement_matching import BilledPeriod
from gateway.ledger.rules.statement_period import Coverage
from gateway.ledger.tables import reconcile, statement_comparison
from gateway.ledger.tables.batches import Batch, new_batch
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.ledger.tables.reports import ledger_rows, usage_by
from gateway.ledger.tables.statement_comparison import Comparison, Source
from gateway.ledger.tables.usage import record
from tests.ledger.tables.test_close_month import DECEMBER_MS, close, report
from tests.ledger.tables.test_unresolved_reservations import FLIGHT_MS, resolve
from tests.ledger.tables.test_usage import row
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till

BY = Author("test", NOW_MS, "the bill of November")
SOURCE = Source("deepshi", "f" * 64, UTC)
HOUR_MS = 3_600_000
NOVEMBER = ("2026-11-01", "2026-11-30")
WHOLE = BilledPeriod(
    int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1000,
    int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1000,
    60_000,
)


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


def line(
    upstream: str, cost: int, ours: str = "", at_ms: int = NOW_MS, **facts: object
) -> StatementLine:
    known = StatementLine(
        1, upstream, ours, at_ms, cost, "deepshi-image-1", "edits", 1, "abcd", 200
    )
    return replace(known, **facts)  # type: ignore[arg-type]


async def compared(
    till: Till, *lines: StatementLine, span: BilledPeriod = WHOLE, days: tuple[str, str] = NOVEMBER
) -> Comparison:
    statement: StatementTotals = sum_up(lines)
    return await till.database.read(
        lambda tx: statement_comparison.compare(tx, statement, SOURCE, Coverage(days, span, ""))
    )


async def booked(till: Till, plan: Comparison, batch: Batch) -> list[int]:
    """Book a comparison, as a confirmed preview does; gives the numbers of new rows."""
    write = till.database.write
    return [
        await write(lambda tx: reconcile.correct_calls(tx, plan.to_correct, SOURCE, batch)),
        await write(
            lambda tx: reconcile.add_missing(tx, plan.missing, plan.known_ids, SOURCE, batch)
        ),
        await write(lambda tx: reconcile.add_fees(tx, plan.fees.changes, SOURCE, batch)),
    ]


async def reconciled(
    till: Till,
    *lines: StatementLine,
    by: Author = BY,
    span: BilledPeriod = WHOLE,
    days: tuple[str, str] = NOVEMBER,
) -> Comparison:
    """Book what differs; gives how both stand then."""
    plan = await compared(till, *lines, span=span, days=days)
    await booked(till, plan, new_batch("reconcile", by, SOURCE.digest))
    await till.proven()
    return await compared(till, *lines, span=span, days=days)


async def rows_of(
    till: Till, first: str = "2026-11-01", last: str = "2026-12-31"
) -> list[LedgerRow]:
    return await till.database.read(lambda tx: ledger_rows(tx, first, last))


def found(plan: Comparison) -> list[tuple[str, int, int]]:
    return [(each.what, each.before_nanos, each.after_nanos) for each in plan.matching.findings]


async def test_a_ledger_that_agrees_is_left_as_it_is(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    after = await reconciled(till, line("up-a", CENT))
    assert (after.changes, after.off_nanos, len(after.matching.agreed)) == (0, 0, 1)
    assert len(await rows_of(till)) == 1
    assert await till.database.read(list_audit) == []


async def test_after_reconciling_the_month_costs_what_was_billed(till: Till) -> None:
    for name, cost in (("same", CENT), ("dear", 2 * CENT), ("guess", None), ("extra", 3 * CENT)):
        await till.reserve(name, 4 * CENT)
        await till.settle(name, cost)
    lines = (
        line("up-same", CENT),
        line("up-dear", 2 * CENT + 1),
        line("up-guess", 4 * CENT),
        line("unknown", 7 * CENT, "req-nobody"),
    )
    before = await compared(till, *lines)
    assert found(before) == [
        ("missing", 0, 7 * CENT),
        ("extra", 3 * CENT, 0),
        ("differing", 2 * CENT, 2 * CENT + 1),
        ("confirmed", 4 * CENT, 4 * CENT),
    ]
    assert before.off_nanos == 10 * CENT - (14 * CENT + 1)
    after = await reconciled(till, *lines)
    assert (after.changes, after.off_nanos) == (0, 0)
    assert after.booked_nanos == after.statement.total_nanos == 14 * CENT + 1
    proof = await till.proven()
    assert (proof.spent_nanos, proof.estimated_calls) == (14 * CENT + 1, 0)
    told = [line.action for line in await till.database.read(list_audit)]
    assert told == ["ledger.reconcile", "ledger.reconcile"]


async def test_reconciling_twice_books_nothing_twice(till: Till) -> None:
    await till.reserve("a", 4 * CENT)
    await till.settle("a", None)
    lines = (line("up-a", CENT), line("u2", CENT), line("", 5 * CENT), line("u9", -CENT))
    await reconciled(till, *lines)
    rows = await rows_of(till)
    plan = await compared(till, *lines)
    assert (plan.changes, plan.off_nanos) == (0, 0)
    await reconciled(till, *lines)
    assert await rows_of(till) == rows


async def test_a_batch_that_is_booked_again_adds_nothing(till: Till) -> None:
    """As after a break between the commit and its answer."""
    await till.reserve("a", 4 * CENT)
    await till.settle("a", None)
    lines = (line("up-a", CENT), line("u2", CENT), line("", 5 * CENT))
    plan = await compared(till, *lines)
    batch = new_batch("reconcile", BY, SOURCE.digest)
    assert await booked(till, plan, batch) == [1, 1, 1]
    assert await booked(till, plan, batch) == [0, 0, 0]
    assert (await compared(till, *lines)).off_nanos == 0


async def test_a_missing_call_is_booked_to_whoever_asked_for_it(till: Till) -> None:
    """A first try that was billed, beside the one in the ledger; one that left a request alone."""
    await till.reserve("a")
    await till.settle("a")
    lost = row(1, request_id="req-lost", team="design", key_id="k1", cost_centre="cc-7")
    await till.database.write(lambda tx: record(tx, [lost]))
    lines = (line("up-a", CENT), line("try-1", CENT, "req-a"), line("u3", CENT, "req-lost"))
    after = await reconciled(till, *lines)
    assert after.off_nanos == 0
    added = {each.upstream_request_id: each for each in await rows_of(till)}
    assert (added["try-1"].team, added["try-1"].key_id) == ("design", "k1")
    assert (added["try-1"].owner, added["try-1"].tags) == ("ann", '{"project":"atlas"}')
    assert (added["u3"].team, added["u3"].cost_centre) == ("design", "cc-7")
    assert added["u3"].day == TODAY


async def test_what_nobody_asked_for_is_booked_to_nobody(till: Till) -> None:
    await reconciled(till, line("u1", CENT, "req-unknown"))
    (row,) = await rows_of(till)
    assert (row.team, row.key_id, row.estimated) == (UNATTRIBUTED, UNATTRIBUTED, 0)
    (by_team,) = await till.database.read(lambda tx: usage_by(tx, "team", *NOVEMBER))
    assert (by_team.group, by_team.spent_nanos, by_team.paid_calls) == (UNATTRIBUTED, CENT, 1)
    assert (await till.stands())["organisation"].spent_nanos == CENT


async def test_a_lost_answer_is_found_by_our_request_id_and_known_by_the_upstreams_then(
    till: Till,
) -> None:
    await till.reserve("a", 4 * CENT, request_id="req-1")
    await till.settle("a", None)
    await till.database.write(
        lambda tx: tx.fetch("UPDATE ledger SET upstream_request_id = '' WHERE id = 'a'")
    )
    assert (await reconciled(till, line("u1", CENT, "req-1"))).off_nanos == 0
    call, correction = await rows_of(till)
    assert (call.upstream_request_id, correction.upstream_request_id) == ("", "u1")
    assert (await compared(till, line("u1", CENT))).changes == 0


async def test_a_credit_note_and_a_fee_are_adjustments(till: Till) -> None:
    await till.reserve("a", at=NOW_MS - 40 * DAY_MS)
    await till.settle("a", at=NOW_MS - 40 * DAY_MS)
    lines = (line("up-a", -CENT // 2, at_ms=NOW_MS), line("", 3 * CENT, model=""))
    after = await reconciled(till, *lines)
    assert (after.booked_nanos, after.off_nanos) == (3 * CENT - CENT // 2, 0)
    credit, fee = sorted(await rows_of(till), key=lambda each: each.cost_nanos)
    assert (credit.kind, credit.team, credit.key_id) == ("adjustment", "design", "k1")
    assert (credit.n, credit.images, credit.cost_nanos) == (0, 0, -CENT // 2)
    assert (fee.kind, fee.team) == ("adjustment", UNATTRIBUTED)
    (line_of_day,) = await report(till, *NOVEMBER)
    assert (line_of_day.paid_calls, line_of_day.corrections_nanos) == (0, 0)


async def test_a_charge_and_its_credit_note_are_one_cost(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    lines = (line("up-a", CENT), line("up-a", -CENT, at_ms=NOW_MS + 5))
    after = await reconciled(till, *lines)
    assert (after.booked_nanos, after.statement.total_nanos, after.off_nanos) == (0, 0, 0)


async def test_a_credit_of_another_statement_is_not_taken_off_again_where_both_are_in_one(
    till: Till,
) -> None:
    await till.reserve("a")
    await till.settle("a")
    charge = line("up-a", CENT)
    credit = line("up-a", -CENT, at_ms=DECEMBER_MS + 5, number=2)
    december = BilledPeriod(WHOLE.until_ms, WHOLE.until_ms + 31 * DAY_MS, WHOLE.edge_ms)
    for lines, span in (
        ((charge,), WHOLE),
        ((credit,), december),
        ((charge, credit), replace(WHOLE, until_ms=december.until_ms)),
    ):
        await reconciled(till, *lines, span=span)
    assert [row.cost_nanos for row in await rows_of(till)] == [CENT, -CENT]


async def test_what_is_in_flight_is_not_missing(till: Till) -> None:
    await till.reserve("a", request_id="req-a")
    plan = await compared(till, line("up-a", CENT, "req-a"))
    assert (plan.changes, len(plan.pending), plan.off_nanos) == (0, 1, 0)
    await till.settle("a")
    after = await reconciled(till, line("up-a", CENT, "req-a"))
    assert (after.changes, after.off_nanos) == (0, 0)
    assert len(await rows_of(till)) == 1


async def test_a_call_that_is_settled_between_the_look_and_the_booking_is_not_booked_twice(
    till: Till,
) -> None:
    await till.reserve("other")
    await till.settle("other")
    plan = await compared(till, line("up-a", CENT, "req-a"), line("up-other", CENT))
    assert [each.what for each in plan.matching.findings] == ["missing"]
    await till.reserve("a")
    for settled in (False, True):
        if settled:
            await till.settle("a")
        assert (
            await till.database.write(
                lambda tx: reconcile.add_missing(
                    tx, plan.missing, plan.known_ids, SOURCE, new_batch("reconcile", BY, "")
                )
            )
            == 0
        )
    assert len(await rows_of(till)) == 2


async def test_a_call_near_the_end_that_is_not_on_the_statement_is_left(till: Till) -> None:
    edge_ms = WHOLE.until_ms - 30_000
    await till.reserve("late", at=edge_ms)
    await till.settle("late", at=edge_ms)
    after = await reconciled(till)
    assert (after.changes, after.undecided_nanos, after.off_nanos) == (0, CENT, 0)
    assert len(await rows_of(till)) == 1


async def test_what_was_settled_long_after_a_crash_is_not_looked_for_on_a_later_statement(
    till: Till,
) -> None:
    await till.reserve("a", 4 * CENT)
    await resolve(till, NOW_MS + 10 * HOUR_MS)
    until_ms = NOW_MS + HOUR_MS
    await reconciled(
        till, line("u1", CENT, "req-a"), span=BilledPeriod(NOW_MS - HOUR_MS, until_ms, FLIGHT_MS)
    )
    after = await reconciled(
        till,
        line("u2", CENT, at_ms=until_ms + HOUR_MS),
        span=BilledPeriod(until_ms, NOW_MS + 12 * HOUR_MS, FLIGHT_MS),
    )
    assert ([call.id for call in after.matching.undecided], after.off_nanos) == (["a"], 0)
    assert sum(row.cost_nanos for row in await rows_of(till)) == 2 * CENT


async def test_a_call_of_the_day_before_that_is_on_the_statement_is_set_aside(till: Till) -> None:
    """Asked for before midnight, billed after it: in our October, and on their November."""
    before_ms = WHOLE.from_ms - 2_000
    await till.reserve("a", at=before_ms)
    await till.settle("a", at=WHOLE.from_ms + 3_000)
    await till.reserve("b")
    await till.settle("b")
    lines = (line("up-a", CENT, at_ms=WHOLE.from_ms + 1_000), line("up-b", CENT))
    after = await reconciled(till, *lines)
    assert (after.changes, after.elsewhere_nanos, after.off_nanos) == (0, CENT, 0)
    assert (after.booked_nanos, after.statement.total_nanos) == (CENT, 2 * CENT)


async def test_a_closed_month_is_reconciled_in_the_one_after(till: Till) -> None:
    for name, cost in (("a", CENT), ("b", None), ("c", CENT)):
        await till.reserve(name, 4 * CENT)
        await till.settle(name, cost)
    await close(till, with_estimates=True)
    november = await report(till, *NOVEMBER)
    lines = (line("up-a", CENT), line("up-b", 2 * CENT), line("u9", 7 * CENT), line("", CENT))
    by = Author("test", DECEMBER_MS)
    after = await reconciled(till, *lines, by=by)
    assert (after.changes, after.off_nanos, after.booked_nanos) == (0, 0, 11 * CENT)
    assert await report(till, *NOVEMBER) == november
    late = await rows_of(till, "2026-12-01", "2026-12-31")
    assert {(each.kind, each.late_for, each.images) for each in late} == {
        ("call", TODAY, 0),
        ("correction", TODAY, 0),
        ("adjustment", TODAY, 0),
    }
    (december,) = await report(till, "2026-12-01", "2026-12-31")
    assert december.spent_nanos == 11 * CENT - 6 * CENT
    assert {each.budget_day for each in late} == {TODAY}
    await close(till, "2026-12", Author("test", DECEMBER_MS + 40 * DAY_MS))
    assert (await reconciled(till, *lines, by=by)).off_nanos == 0
    await till.proven()


async def test_pictures_that_were_missing_count_in_their_day_alone(till: Till) -> None:
    lost = row(1, request_id="req-lost", team="design", key_id="k1")
    await till.database.write(lambda tx: record(tx, [lost]))
    await reconciled(till, line("u1", CENT, "req-lost", n=3))
    assert (await till.stands())["team"].images == 3
    assert (await till.stands(at=NOW_MS + DAY_MS))["team"].images == 0


async def test_two_who_reconcile_at_once_book_everything_once(till: Till) -> None:
    for number in range(6):
        await till.reserve(f"r{number}", 4 * CENT)
        await till.settle(f"r{number}", None)
    lines = [line(f"up-r{number}", CENT) for number in range(5)]
    lines += [line(f"new{number}", CENT) for number in range(5)] + [line("", -CENT)]
    await asyncio.gather(*(reconciled(till, *lines) for _ in range(3)))
    after = await compared(till, *lines)
    assert (after.changes, after.off_nanos, after.booked_nanos) == (0, 0, 9 * CENT)
    assert len(await rows_of(till)) == 6 + 6 + 5 + 1
