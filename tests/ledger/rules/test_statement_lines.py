"""Lines of a statement: what they say, what is refused, and what they come to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.statement_lines import (
    BadLine,
    Columns,
    RepeatedLines,
    StatementLine,
    StatementOptions,
    parse_line,
    sum_up,
)
from gateway.model.money import usd

OPTIONS = StatementOptions()
GOOD = {"request_id": "u1", "time": "2026-11-25T12:00:00Z", "cost_usd": "0.04"}
NOON_MS = 1_795_608_000_000


def read(**fields: object) -> StatementLine:
    return parse_line(7, {**GOOD, **fields}, OPTIONS)


def line(
    cost: int, upstream: str = "", ours: str = "", at_ms: int = 100, number: int = 1
) -> StatementLine:
    return StatementLine(number, upstream, ours, at_ms, cost)


def test_a_line_is_read_by_its_columns() -> None:
    row = {
        "id": " u1 ", "ours": "r1", "at": "2026-11-25 13:00:00+01:00", "amount": "0.040000001",
        "model": "m", "path": "edits", "pictures": "2", "key": "abcd", "code": 200,
    }  # fmt: skip
    columns = Columns(
        "id", "ours", "at", "amount", "cur", "model", "path", "pictures", "key", "code"
    )
    found = parse_line(7, row, StatementOptions(columns=columns))
    assert replace(found, said="") == StatementLine(
        7, "u1", "r1", NOON_MS, 40_000_001, "m", "edits", 2, "abcd", 200
    )


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0.04", 40_000_000), (Decimal("4E-2"), 40_000_000), (1, 10**9), ("-0.04", -40_000_000),
        ("0", 0), ("-0", 0), ("0.0000000001", 1), ("-0.0000000001", -1), ("1e-9", 1),
    ],
)  # fmt: skip
def test_amounts_are_read_exactly(text: object, nanos: int) -> None:
    assert read(cost_usd=text).cost_nanos == nanos


@pytest.mark.parametrize(
    "text", ["", None, "1,5", "1,234.50", "$1", "NaN", "inf", "--1", "-+1", "0x1", True, "0x"]
)
def test_what_is_no_amount_is_said(text: object) -> None:
    with pytest.raises(BadLine, match=r"line 7: cost_usd is .*no amount in dollars"):
        read(cost_usd=text)


@pytest.mark.parametrize(
    "text",
    ["2026-11-25T12:00:00Z", "2026-11-25T12:00:00", "2026-11-25 12:00", "1795608000",
     1_795_608_000, "1795608000000", "2026-11-25T13:00:00+01:00"],
)  # fmt: skip
def test_times_are_read_in_many_forms(text: object) -> None:
    assert read(time=text).at_ms == NOON_MS


def test_a_time_without_an_offset_is_in_the_statements_zone() -> None:
    there = parse_line(
        1, {**GOOD, "time": "2026-11-25 12:00"}, StatementOptions(zone=ZoneInfo("Europe/Berlin"))
    )
    assert there.at_ms == NOON_MS - 3_600_000


@pytest.mark.parametrize(
    "text",
    ["", None, "yesterday", "25.11.2026", "9999-99-99", "12", "0001-01-01", "9999-12-31T23:59:59Z"],
)
def test_what_is_no_time_is_said(text: object) -> None:
    with pytest.raises(BadLine, match=r"line 7: time is .*no time such as"):
        read(time=text)


def test_another_currency_is_refused() -> None:
    assert read(currency="usd").cost_nanos == 40_000_000
    with pytest.raises(BadLine, match="line 7: the amount is in EUR; the ledger is in USD"):
        read(currency="EUR")


@pytest.mark.parametrize(
    ("name", "value"), [("request_id", "a\nb"), ("model", "x" * 201), ("credential", "\x1b[31m")]
)
def test_what_is_no_line_of_text_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadLine, match=f"line 7: {name} is no line of text"):
        read(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("n", "two"), ("n", "-1"), ("n", 10**6), ("status", "1.5")]
)
def test_what_is_no_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadLine, match=rf"line 7: {name} is .*no number up to"):
        read(**{name: value})


# --- gathering ------------------------------------------------------------------------------


def test_the_lines_of_a_call_are_added_together() -> None:
    """A charge and its credit note are one amount."""
    found = sum_up([line(50, "u1", at_ms=100), line(-20, "u1", "r1", at_ms=200, number=2)])
    (call,) = found.calls
    assert (call.cost_nanos, len(call.parts), call.line.at_ms) == (30, 2, 100)
    assert call.client_request_id == "r1"
    assert (found.total_nanos, found.adjustments) == (30, ())
    assert (found.first_ms, found.last_ms) == (100, 200)


def test_a_credit_without_its_charge_and_a_line_of_no_call_are_adjustments() -> None:
    credit, fee = line(-20, "u1", number=1), line(500, number=2)
    found = sum_up([credit, fee, line(30, "u2", number=3)])
    assert found.adjustments == (credit, fee)
    assert (len(found.calls), found.total_nanos) == (1, 510)


def test_lines_without_the_upstreams_id_go_by_ours() -> None:
    found = sum_up(
        [line(5, ours="r1"), line(6, ours="r1", number=2), line(7, "u1", "r1", number=3)]
    )
    assert sorted(call.cost_nanos for call in found.calls) == [7, 11]


def test_lines_that_are_there_twice_are_refused_unless_it_is_said_what_they_count() -> None:
    lines = [line(5, "u1", number=1), line(6, "u2", number=2), line(5, "u1", number=3)]
    with pytest.raises(RepeatedLines, match="lines 1, 3 are there more than once"):
        sum_up(lines)
    once, added = sum_up(lines, "once"), sum_up(lines, "add")
    assert (once.total_nanos, once.lines, once.repeated) == (11, 2, 1)
    assert (added.total_nanos, added.lines, added.repeated) == (16, 3, 1)


def test_equal_fees_of_no_call_are_not_taken_for_one_line_twice() -> None:
    assert sum_up([line(5), line(5, number=2)]).total_nanos == 10


def test_an_empty_statement_says_that_nothing_was_billed() -> None:
    found = sum_up([])
    assert (found.total_nanos, found.calls, found.first_ms) == (0, (), None)


some_lines = st.lists(
    st.builds(
        line,
        st.integers(-5, 9), st.sampled_from(["", "u1", "u2"]), st.sampled_from(["", "r1"]),
        st.integers(0, 3),
    ),
    max_size=10,
)  # fmt: skip


@given(some_lines)
def test_nothing_is_lost_by_gathering(lines: list[StatementLine]) -> None:
    numbered = [replace(each, number=number) for number, each in enumerate(lines)]
    found = sum_up(numbered, "add")
    calls = sum(call.cost_nanos for call in found.calls)
    rest = sum(each.cost_nanos for each in found.adjustments)
    assert calls + rest == found.total_nanos == sum(each.cost_nanos for each in lines)
    assert all(call.cost_nanos >= 0 for call in found.calls)


@given(st.integers(-(10**15), 10**15))
def test_an_amount_as_it_is_printed_is_read_as_it_was(nanos: int) -> None:
    assert read(cost_usd=usd(nanos)).cost_nanos == nanos
