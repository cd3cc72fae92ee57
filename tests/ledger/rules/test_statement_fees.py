"""Fees and credits: known again on the next statement, whatever it calls them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from gateway.ledger.rules.statement_fees import FeeMatching, match_fees
from gateway.ledger.rules.statement_lines import StatementLine
from gateway.ledger.rules.statement_matching import LedgerCall

NOON_MS = int(datetime(2026, 11, 5, 12, tzinfo=UTC).timestamp()) * 1000
DAY, DAYS = "2026-11-05", ("2026-11-01", "2026-11-30")
FEE = StatementLine(1, "", "", NOON_MS, 500, line_item="platform", said="Platform fee, November")


def booked(cost: int = 500, *ids: str, name: str = "adj_1", **facts: object) -> LedgerCall:
    fee = LedgerCall(
        name, "", ids, cost, False, NOON_MS, DAY, kind="adjustment", route="platform",
        first_nanos=cost,
    )  # fmt: skip
    return replace(fee, **facts)  # type: ignore[arg-type]


def matched(lines: list[StatementLine], *fees: LedgerCall) -> FeeMatching:
    return match_fees(lines, fees, "openai", UTC, DAYS)


def test_a_fee_is_known_again_by_day_type_and_amount_not_by_its_wording() -> None:
    later = replace(FEE, number=9, at_ms=NOON_MS + 7_000, said="another wording", model="x")
    found = matched([later], booked())
    assert (found.changes, found.agreed, found.gone) == ((), 1, ())


def test_a_fee_of_an_earlier_version_has_no_type() -> None:
    assert matched([FEE], booked(route="")).agreed == 1
    assert matched([FEE], booked(route="support")).agreed == 0


def test_a_fee_with_an_id_is_known_by_it_and_its_new_amount_booked_as_a_difference() -> None:
    line = replace(FEE, line_id="inv-7", cost_nanos=520)
    (change,) = matched([line], booked(500, "inv-7")).changes
    assert (change.id, change.number, change.nanos) == ("adj_1", 1, 20)


def test_equal_fees_are_as_many_as_the_statement_has() -> None:
    found = matched([FEE, replace(FEE, number=2), replace(FEE, number=3)], booked())
    assert (found.agreed, len({change.id for change in found.changes})) == (1, 2)


def test_new_fees_have_the_same_ids_each_time() -> None:
    once, again = matched([FEE, FEE]), matched([FEE, FEE])
    assert [change.id for change in once.changes] == [change.id for change in again.changes]
    assert len({change.id for change in once.changes}) == 2


def test_a_fee_that_was_taken_back_is_booked_on_the_same_row() -> None:
    undone = booked(0, first_nanos=500, corrections=1)
    (change,) = matched([FEE], undone).changes
    assert (change.id, change.number, change.nanos) == ("adj_1", 2, 500)


def test_a_fee_that_is_gone_is_listed_and_one_of_another_month_is_not() -> None:
    other = booked(7, name="adj_2", day="2026-10-31")
    found = matched([], booked(), other, booked(0, name="adj_3"))
    assert ([fee.id for fee in found.gone], found.changes) == (["adj_1"], ())


def test_a_credit_is_known_by_its_call_and_amount() -> None:
    credit = StatementLine(1, "up-1", "", NOON_MS + 10**9, -30)
    assert matched([credit], booked(-30, "up-1")).agreed == 1
    assert len(matched([credit], booked(-20, "up-1")).changes) == 1
    assert len(matched([credit], booked(-30, "up-2")).changes) == 1


def test_nothing_is_booked_for_a_line_of_nothing() -> None:
    assert matched([replace(FEE, cost_nanos=0)]).changes == ()
