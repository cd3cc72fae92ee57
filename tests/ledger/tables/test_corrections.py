"""Corrections: what became known of a call's cost after it was booked."""

from __future__ import annotations

import asyncio

import pytest

from gateway.accounts.tables import audit
from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.tables import corrections
from gateway.ledger.tables.corrections import Corrected, UnknownRequest
from gateway.ledger.tables.ledger_rows import LedgerRow
from tests.support.funds import CENT, DAY_MS, NOW_MS, TODAY, Till, ledger_of


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def rows_of(till: Till, reservation_id: str) -> list[LedgerRow]:
    return await till.database.read(lambda tx: ledger_of(tx, f"req-{reservation_id}"))


async def correct(till: Till, request_id: str, cost: int) -> Corrected:
    by = Author("root", NOW_MS + 5, "the invoice")
    return await till.database.write(lambda tx: corrections.correct(tx, request_id, cost, by))


@pytest.mark.parametrize("actual", [0, CENT // 2, CENT, 3 * CENT])
async def test_a_settle_that_comes_late_books_the_difference_once(till: Till, actual: int) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    for _ in range(2):
        late = await till.settle("a", actual, at=NOW_MS + DAY_MS)
        assert (late.cost_nanos, late.estimated) == (actual, False)
    call, correction = await rows_of(till, "a")
    assert (call.cost_nanos, call.estimated) == (CENT, 1)
    assert (correction.kind, correction.corrects) == ("correction", "a")
    assert (correction.cost_nanos, correction.day) == (actual - CENT, TODAY)
    proven = await till.proven()
    assert (proven.spent_nanos, proven.estimated_calls, proven.estimated_nanos) == (actual, 0, 0)


async def test_a_late_settle_of_a_call_that_was_not_charged_gives_its_pictures_back(
    till: Till,
) -> None:
    await till.reserve("a", images=3)
    await till.settle("a", None)
    await till.settle("a", 0, status=400)
    assert (await till.stands())["team"].images == 0


async def test_a_late_overrun_is_told_once(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    assert (await till.settle("a", 3 * CENT)).overrun_nanos == 2 * CENT
    assert (await till.settle("a", 3 * CENT)).overrun_nanos == 0


async def test_a_correction_makes_a_request_cost_what_the_invoice_says(till: Till) -> None:
    await till.reserve("a", 4 * CENT)
    await till.settle("a", None)
    corrected = await correct(till, "req-a", CENT)
    assert (corrected.before_nanos, corrected.after_nanos) == (4 * CENT, CENT)
    proven = await till.proven()
    assert (proven.spent_nanos, proven.estimated_nanos) == (CENT, 0)


async def test_correcting_twice_changes_nothing_more(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", CENT)
    assert (await correct(till, "req-a", 2 * CENT)).corrections == 1
    assert (await correct(till, "req-a", 2 * CENT)).corrections == 0
    assert (await correct(till, "req-a", CENT)).corrections == 1
    assert len(await rows_of(till, "a")) == 3
    assert (await till.proven()).spent_nanos == CENT


async def test_a_correction_says_in_the_audit_who_and_why(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    await correct(till, "req-a", 2 * CENT)
    (row,) = await till.database.read(audit.list_audit)
    assert (row.actor, row.action, row.subject) == ("root", "ledger.correct", "request:req-a")
    assert (row.old, row.new) == (
        {"cost_usd": "0.01", "estimated_calls": 1},
        {"cost_usd": "0.02", "estimated_calls": 0},
    )
    assert row.reason == "the invoice"


async def test_an_estimate_that_was_right_is_no_longer_one(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    assert (await correct(till, "req-a", CENT)).corrections == 1
    assert (await till.proven()).estimated_calls == 0


async def test_a_correction_by_hand_is_final(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    await correct(till, "req-a", 2 * CENT)
    assert (await till.settle("a", 3 * CENT)).cost_nanos == 2 * CENT


async def test_a_request_of_several_calls_is_corrected_as_a_whole(till: Till) -> None:
    for name in "abc":
        await till.reserve(name, request_id="req-many")
    await till.settle("a", CENT)
    for name in "bc":
        await till.settle(name, None)
    corrected = await correct(till, "req-many", 5 * CENT)
    assert (corrected.before_nanos, corrected.corrections) == (3 * CENT, 2)
    proven = await till.proven()
    assert (proven.spent_nanos, proven.estimated_calls) == (5 * CENT, 0)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cost", [0, CENT // 2, CENT, CENT + 1, 3 * CENT, 7 * CENT])
async def test_no_call_of_a_request_is_corrected_below_nothing(
    till: Till, cost: int, known: bool
) -> None:
    for name, paid in (("a", CENT), ("b", 2 * CENT), ("c", CENT)):
        await till.reserve(name, request_id="req-many", nanos=paid)
        await till.settle(name, paid if known or name != "b" else None)
    await correct(till, "req-many", cost)
    rows = await till.database.read(lambda tx: ledger_of(tx, "req-many"))
    nets = {
        call.id: sum(row.cost_nanos for row in rows if call.id in (row.id, row.corrects))
        for call in rows
        if call.kind == "call"
    }
    assert sum(nets.values()) == cost
    assert min(nets.values()) >= 0
    assert (await till.proven()).estimated_calls == 0


async def test_a_call_that_an_earlier_correction_drove_below_nothing_is_put_right(
    till: Till,
) -> None:
    for name in "ab":
        await till.reserve(name, request_id="req-two")
        await till.settle(name)
    await correct(till, "req-two", CENT)
    (taken,) = await till.database.write(
        lambda tx: tx.fetch("SELECT id FROM ledger WHERE kind = 'correction'")
    )
    await till.database.write(
        lambda tx: tx.fetch(
            "UPDATE ledger SET cost_nanos = $2 WHERE id = $1", taken["id"], -3 * CENT
        )
    )
    assert (await correct(till, "req-two", CENT // 2)).after_nanos == CENT // 2
    rows = await till.database.read(lambda tx: ledger_of(tx, "req-two"))
    assert sum(row.cost_nanos for row in rows if "b" in (row.id, row.corrects)) == 0


async def test_a_correction_is_not_dated_before_its_call(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", at=NOW_MS + 60_000)
    await correct(till, "req-a", 0)
    call, correction = await rows_of(till, "a")
    assert (call.id, correction.at_ms) == ("a", call.at_ms)


async def test_what_is_still_held_is_said_and_not_called_unknown(till: Till) -> None:
    await till.reserve("a", 3 * CENT)
    with pytest.raises(UnknownRequest, match=r"\$0\.03 is held for it until it is resolved"):
        await correct(till, "req-a", CENT)
    await till.reserve("b", 2 * CENT, request_id="req-a")
    await till.settle("b", CENT)
    corrected = await correct(till, "req-a", 2 * CENT)
    assert (corrected.after_nanos, corrected.held_nanos) == (2 * CENT, 3 * CENT)


async def test_an_estimate_that_is_confirmed_is_told_from_one_that_changed(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    assert (await correct(till, "req-a", CENT)).confirmed
    assert not (await correct(till, "req-a", CENT)).confirmed
    assert not (await correct(till, "req-a", 2 * CENT)).confirmed


async def test_a_cost_that_no_request_can_have_is_named_in_dollars(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    with pytest.raises(ValueError, match=r"\$2000000\.00.*to \$1000000\.00"):
        await correct(till, "req-a", 2 * 10**15)


async def test_a_request_that_bought_nothing_cannot_be_corrected(till: Till) -> None:
    with pytest.raises(UnknownRequest):
        await correct(till, "req-ghost", CENT)


async def test_corrections_written_at_once_are_all_booked(till: Till) -> None:
    await till.reserve("a", 5 * CENT)
    await till.settle("a", None)
    costs = [CENT, 2 * CENT, 3 * CENT]
    await asyncio.gather(*(correct(till, "req-a", cost) for cost in costs), till.settle("a", CENT))
    assert (await till.proven()).spent_nanos in costs
