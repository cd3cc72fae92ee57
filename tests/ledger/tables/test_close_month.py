"""Closed months: nothing is booked in them, and what comes later is booked after them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.accounts.tables.audit import Author, list_audit
from gateway.database.database import Database, Transaction
from gateway.ledger.tables import close_month, reports, reserve_settle
from gateway.ledger.tables.balances import DayClosed
from gateway.ledger.tables.close_month import Closing, NotClosable
from gateway.ledger.tables.corrections import Corrected, correct
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.ledger.tables.usage import record
from gateway.ledger.tables.verify import verify
from gateway.model.outcome import Outcome
from gateway.model.reservation import CallFacts
from gateway.pricing.rules.ceilings import Quote
from tests.ledger.tables.test_usage import row
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till

DECEMBER_MS = int(datetime(2026, 12, 3, 9, tzinfo=UTC).timestamp()) * 1000
BY = Author("test", DECEMBER_MS, "month's end")


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def close(till: Till, period: str = "2026-11", by: Author = BY, **how: bool) -> Closing:
    """Freeze and seal, as the command does."""
    frozen = await till.database.write(
        lambda tx: close_month.freeze(tx, period, by, till.zone, **how)
    )
    contents = await till.database.read(lambda tx: close_month.contents_of(tx, frozen))
    await till.database.write(lambda tx: close_month.seal(tx, period, contents))
    return (await till.database.read(close_month.closings))[-1]


async def corrected(till: Till, request_id: str, nanos: int, by: Author = BY) -> Corrected:
    return await till.database.write(lambda tx: correct(tx, request_id, nanos, by))


async def rows_of(till: Till, first: str, last: str) -> list[LedgerRow]:
    return await till.database.read(lambda tx: reports.ledger_rows(tx, first, last))


async def report(till: Till, first: str, last: str) -> list[reports.UsageLine]:
    return await till.database.read(lambda tx: reports.usage_by(tx, "day", first, last))


async def a_month(till: Till) -> None:
    """Two calls, one of them estimated, and a hit."""
    await till.reserve("a")
    await till.settle("a")
    await till.reserve("b", 3 * CENT)
    await till.settle("b", None)
    await till.database.write(lambda tx: record(tx, [row(1, saved_nanos=CENT, cause="reuse")]))


async def test_a_closed_month_says_what_was_in_it(till: Till) -> None:
    await a_month(till)
    closed = await close(till, with_estimates=True)
    assert (closed.first_day, closed.last_day, closed.timezone) == (
        "2026-11-01",
        "2026-11-30",
        "UTC",
    )
    assert (closed.closed_by, closed.closed_ms, closed.estimated_calls) == ("test", DECEMBER_MS, 1)
    assert closed.contents is not None
    assert (closed.contents.ledger_rows, closed.contents.spent_nanos) == (2, 4 * CENT)
    assert closed.contents.saved_nanos == CENT
    assert len(closed.contents.digest) == 64
    (line,) = await till.database.read(list_audit)
    assert (line.action, line.subject, line.reason) == (
        "ledger.close", "period:2026-11", "month's end",
    )  # fmt: skip
    assert (await till.proven()).closed_through == "2026-11-30"


async def test_closing_twice_changes_nothing(till: Till) -> None:
    await a_month(till)
    first = await close(till, with_estimates=True)
    assert await close(till, by=Author("another", DECEMBER_MS + 1)) == first
    assert len(await till.database.read(list_audit)) == 1


async def test_a_month_that_is_not_over_is_not_closed(till: Till) -> None:
    await a_month(till)
    end_ms = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1000
    for now_ms in (NOW_MS, end_ms, end_ms + close_month.OVER_FOR_MS - 1):
        with pytest.raises(NotClosable, match="from 2026-12-01T00:10:00Z on"):
            await close(till, by=Author("test", now_ms), with_estimates=True)
    await close(till, by=Author("test", end_ms + close_month.OVER_FOR_MS), with_estimates=True)


async def test_a_month_ends_in_the_settings_time_zone(till: Till) -> None:
    there = Till(till.database, zone=ZoneInfo("America/Los_Angeles"))
    with pytest.raises(NotClosable, match="from 2026-12-01T08:10:00Z on"):
        await close(there, by=Author("test", NOW_MS))


async def test_held_money_keeps_a_month_open(till: Till) -> None:
    await till.reserve("a", 7 * CENT)
    with pytest.raises(NotClosable, match=r"\$0\.07 is still held by 1 call"):
        await close(till, with_estimates=True)
    await till.settle("a", at=DECEMBER_MS)
    closed = await close(till)
    assert closed.contents is not None
    assert closed.contents.spent_nanos == CENT


async def test_an_estimate_keeps_a_month_open_unless_one_insists(till: Till) -> None:
    await a_month(till)
    with pytest.raises(
        NotClosable, match=r"the cost of 1 call of 2026-11 is only estimated, \$0\.03"
    ):
        await close(till)
    await corrected(till, "req-b", 2 * CENT)
    assert (await close(till)).estimated_calls == 0


async def test_months_are_closed_in_their_order(till: Till) -> None:
    await till.reserve("old", at=NOW_MS - 40 * DAY_MS)
    await till.settle("old")
    with pytest.raises(NotClosable, match="close 2026-10 first"):
        await close(till)
    await close(till, "2026-10")
    await close(till)
    with pytest.raises(NotClosable, match="a month after 2026-09 is closed"):
        await close(till, "2026-09")


@pytest.mark.parametrize("period", ["2026-13", "2026", "2026-1", "November", "2026-11-01", ""])
async def test_what_is_no_month_is_said(till: Till, period: str) -> None:
    with pytest.raises(ValueError, match="month"):
        await close(till, period)


# --- what comes later -----------------------------------------------------------------------


async def test_a_correction_after_the_close_is_booked_in_the_first_open_day(till: Till) -> None:
    await a_month(till)
    before = await report(till, "2026-11-01", "2026-11-30")
    await close(till, with_estimates=True)
    answer = await corrected(till, "req-b", 2 * CENT)
    assert (answer.after_nanos, answer.booked_in) == (2 * CENT, "2026-12-01")
    (late,) = await rows_of(till, "2026-12-01", "2026-12-31")
    assert (late.kind, late.corrects, late.late_for) == ("correction", "b", TODAY)
    assert (late.cost_nanos, late.images) == (-CENT, 0)
    assert await report(till, "2026-11-01", "2026-11-30") == before
    (line,) = await report(till, "2026-12-01", "2026-12-31")
    assert (line.spent_nanos, line.corrections_nanos, line.paid_calls) == (-CENT, -CENT, 0)
    assert (line.estimated_calls, line.estimated_nanos) == (-1, -3 * CENT)
    proof = await till.proven()
    assert (proof.spent_nanos, proof.estimated_calls) == (3 * CENT, 0)


async def test_what_is_corrected_again_and_again_still_adds_up(till: Till) -> None:
    await a_month(till)
    await close(till, with_estimates=True)
    for nanos in (0, 2 * CENT, 0, 5 * CENT):
        await corrected(till, "req-a", nanos)
        await till.proven()
    january = Author("test", DECEMBER_MS + 40 * DAY_MS)
    await close(till, "2026-12", january)
    assert (await corrected(till, "req-a", 0, january)).booked_in == "2027-01-01"
    (last,) = await rows_of(till, "2027-01-01", "2027-01-31")
    assert (last.id, last.late_for) == ("a~5", TODAY)
    (line,) = await report(till, "2027-01-01", "2027-01-31")
    assert (line.spent_nanos, line.paid_calls) == (-5 * CENT, -1)
    await till.proven()


async def test_an_answer_that_comes_after_the_close_corrects_in_the_open_month(till: Till) -> None:
    await a_month(till)
    await close(till, with_estimates=True)
    settled = await till.settle("b", CENT, at=DECEMBER_MS)
    assert (settled.cost_nanos, settled.estimated) == (CENT, False)
    (late,) = await rows_of(till, "2026-12-01", "2026-12-31")
    assert (late.corrects, late.cost_nanos, late.late_for) == ("b", -2 * CENT, TODAY)
    await till.proven()


async def test_a_late_correction_is_the_open_windows_money_and_no_ones_pictures(till: Till) -> None:
    await till.limit(
        "team:design", budget_nanos=10 * CENT, budget_period="month", paid_images_per_day=1
    )
    await till.reserve("a", 9 * CENT)
    await till.settle("a", 9 * CENT)
    await close(till)
    await corrected(till, "req-a", 4 * CENT)
    december = int(datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()) * 1000
    team = (await till.stands(at=december))["team"]
    assert (team.spent_nanos, team.images) == (-5 * CENT, 0)
    november = (await till.stands())["team"]
    assert (november.spent_nanos, november.images) == (9 * CENT, 1)


async def test_what_was_seen_to_cost_is_forgotten_where_it_was_corrected_late(till: Till) -> None:
    await till.reserve("dear", 9 * CENT)
    await till.settle("dear", 9 * CENT)
    await close(till)
    await corrected(till, "req-dear", 2 * CENT)
    seen = await till.database.read(lambda tx: tx.fetch("SELECT day, max_nanos FROM picture_costs"))
    assert [dict(each) for each in seen] == [{"day": TODAY, "max_nanos": 2 * CENT}]


async def test_nothing_is_bought_in_a_closed_day(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    await close(till)
    with pytest.raises(DayClosed, match=f"{TODAY} is closed"):
        await till.reserve("b")
    assert (await till.proven()).open_reservations == 0
    await till.reserve("c", at=DECEMBER_MS)


async def test_requests_that_are_written_after_the_close_count_in_the_open_month(
    till: Till,
) -> None:
    await a_month(till)
    before = await report(till, "2026-11-01", "2026-11-30")
    await close(till, with_estimates=True)
    late = row(2, saved_nanos=CENT, cause="reuse", outcome=Outcome.HIT)
    await till.database.write(lambda tx: record(tx, [late], "2026-12-03"))
    assert await report(till, "2026-11-01", "2026-11-30") == before
    (line,) = await report(till, "2026-12-01", "2026-12-31")
    assert (line.group, line.calls, line.saved_nanos) == ("2026-12-01", 1, CENT)
    await till.proven()


async def test_corrections_beside_the_close_are_in_it_or_after_it(till: Till) -> None:
    for number in range(12):
        await till.reserve(f"r{number}")
        await till.settle(f"r{number}")
    closing_it = asyncio.create_task(close(till))
    await asyncio.gather(*(corrected(till, f"req-r{number}", 3 * CENT) for number in range(12)))
    closed = await closing_it
    late = await rows_of(till, "2026-12-01", "2026-12-31")
    assert closed.contents is not None
    inside = closed.contents.ledger_rows - 12
    assert inside + len(late) == 12
    assert closed.contents.spent_nanos == 12 * CENT + 2 * CENT * inside
    await till.proven()


async def test_a_call_beside_the_close_is_refused_or_keeps_the_month_open(till: Till) -> None:
    """Never in between: held in a month that is closed."""
    for number in range(8):
        closing_it = asyncio.create_task(close(till))
        tried = await asyncio.gather(till.reserve(f"r{number}"), return_exceptions=True)
        refused = isinstance(tried[0], DayClosed)
        try:
            await closing_it
        except NotClosable:
            assert not refused
            await till.void(f"r{number}")
        else:
            assert refused
            break
    assert (await till.proven()).open_reservations == 0


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite writes one by one
async def test_the_first_call_ever_keeps_the_month_open_too(till: Till) -> None:
    """There is no balance yet whose lock would keep the two apart."""
    held, go_on = asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        facts = CallFacts("req-first", "deepshi-image-1", "edits", "fp", 1, 1_000)
        await reserve_settle.hold(
            tx, Quote(till.caller, facts, CENT, 1), reservation_id="first", ceiling_nanos=CENT,
            owner_id="process-1", now_ms=NOW_MS, zone=till.zone,
        )  # fmt: skip
        held.set()
        await go_on.wait()

    holding = asyncio.create_task(till.database.write(hold))
    await held.wait()
    closing_it = asyncio.create_task(close(till))
    await asyncio.wait({closing_it}, timeout=0.5)  # where nothing kept it, it would be done
    go_on.set()
    await holding
    with pytest.raises(NotClosable, match="still held"):
        await closing_it


async def test_a_month_is_sealed_by_the_same_columns_for_ever(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    closed = await close(till)
    assert closed.contents is not None
    assert closed.contents.digest == (
        "58f840516a4d46b7f0b50cc4290dbfec85e801a68ee4f674ef960905882d0343"
    )


# --- the proof ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE ledger SET status = 500 WHERE id = 'a'", {"closed digest"}),
        ("UPDATE rollups SET errors = errors + 1 WHERE outcome = 'hit'", {"closed digest"}),
        (
            "DELETE FROM ledger WHERE id = 'a'",
            {"closed digest", "closed ledger rows", "closed spent nanos"},
        ),
    ],
)
async def test_a_closed_month_that_was_changed_is_found_out(
    till: Till, change: str, what: set[str]
) -> None:
    await a_month(till)
    await close(till, with_estimates=True)
    await till.database.write(lambda tx: tx.fetch(change))
    found = (await till.database.read(verify)).differences
    assert {each.what for each in found if each.what.startswith("closed")} == what
    assert {each.day for each in found if each.what.startswith("closed")} == {"2026-11"}


async def test_a_month_that_was_frozen_and_not_sealed_is_sealed_later(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    await till.database.write(lambda tx: close_month.freeze(tx, "2026-11", BY, till.zone))
    assert (await till.database.read(close_month.closings))[0].contents is None
    await corrected(till, "req-a", 0)
    closed = await close(till)
    assert closed.contents is not None
    assert (closed.contents.ledger_rows, closed.contents.spent_nanos) == (1, CENT)
    await till.proven()
