"""Sums of a statement: compared by day and model, and shared out so that the parts add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.payer import UNATTRIBUTED
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.rules.statement_matching import LedgerCall
from gateway.ledger.rules.statement_sums import (
    ComparedSum,
    compare_groups,
    share,
    share_by_team,
)

BY_DAY = StatementOptions(granularity="day")
DAYS = ("2026-11-01", "2026-11-30")


def at(day: int, hour: int = 12) -> int:
    return int(datetime(2026, 11, day, hour, tzinfo=UTC).timestamp()) * 1000


def call(
    cost: int, team: str = "design", *, day: int = 5, model: str = "gpt-image-1", key: str = "k1",
    estimated: bool = False, name: str = "c", upstream_model: str = "",
) -> LedgerCall:  # fmt: skip
    return LedgerCall(
        name, "r", (), cost, estimated, at(day), f"2026-11-{day:02}", team, key, model,
        upstream_model=upstream_model,
    )  # fmt: skip


def line(cost: int, item: str = "", day: int = 5, model: str = "") -> StatementLine:
    return StatementLine(1, "", "", at(day, 0), cost, model, line_item=item)


def compared(
    lines: list[StatementLine], calls: list[LedgerCall], options: StatementOptions = BY_DAY
) -> list[ComparedSum]:
    return compare_groups(lines, calls, options, DAYS)


def test_the_line_items_of_a_day_and_model_are_one_sum() -> None:
    lines = [line(30, "gpt-image-1, image output"), line(12, "gpt-image-1, text input")]
    (found,) = compared(lines, [call(20), call(20)])
    assert (found.group, found.billed_nanos, found.booked_nanos) == (
        ("2026-11-05", "gpt-image-1"), 42, 40,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("gpt-image-1", "gpt-image-1"),
        ("GPT-Image-1, image", "gpt-image-1"),
        ("gpt-image-1-2025-04-23, image", "gpt-image-1"),
        ("gpt-image-1-mini, image", "gpt-image-1-mini"),
        ("gpt-image-10, image", "gpt-image-10, image"),
        ("Azure image output Tokens", "prod"),
        ("img-of-theirs", "prod"),
    ],
)
def test_a_line_item_names_the_model_that_it_begins_with(text: str, model: str) -> None:
    calls = [call(1), call(1, model="gpt-image-1-mini"), call(0, model="prod",
             upstream_model="img-of-theirs")]  # fmt: skip
    options = replace(BY_DAY, models={"azure image*": "prod"})
    found = compared([line(7, text), line(1, "prod", day=9)], calls, options)
    assert {each.group.model for each in found if each.billed_nanos == 7} == {model}


def test_sums_are_compared_by_day_alone_where_no_line_names_a_model() -> None:
    (found,) = compared([line(9, "images")], [call(4), call(5, model="other")])
    assert (found.group, found.nanos) == (("2026-11-05", ""), 0)


def test_a_day_without_calls_is_nobodys() -> None:
    one, other = compared([line(9, "gpt-image-1", day=6), line(4, "gpt-image-1")], [call(4)])
    assert (one.nanos, one.shares) == (0, ())
    assert [(payer.team, nanos) for payer, nanos in other.shares] == [(UNATTRIBUTED, 9)]


def test_a_day_without_a_line_cost_nothing() -> None:
    (found,) = compared([], [call(7), call(3, "press")])
    assert {payer.team: nanos for payer, nanos in found.shares} == {"design": -7, "press": -3}


def test_days_are_those_of_the_statements_zone() -> None:
    options = replace(BY_DAY, zone=ZoneInfo("America/Los_Angeles"))
    early = replace(call(5), at_ms=at(5, 3))  # the fourth, over there
    (found,) = compared([replace(line(5), at_ms=at(4, 20))], [early], options)
    assert (found.group.period, found.nanos) == ("2026-11-04", 0)


def test_a_month_is_one_sum() -> None:
    options = replace(BY_DAY, granularity="month")
    (found,) = compared([line(10, day=30)], [call(4, day=1), call(5, day=30)], options)
    assert (found.group, found.nanos) == (("2026-11", ""), 1)


def test_a_sum_settles_the_estimates_of_its_day() -> None:
    known, guess = call(4, name="known"), call(5, name="guess", estimated=True)
    (found,) = compared([line(9)], [known, guess])
    assert [each.id for each in found.estimates] == ["guess"]


def test_calls_that_cost_nothing_share_by_their_number() -> None:
    calls = [call(0), call(0), call(0, "press")]
    parts = share_by_team(9, calls, calls)
    assert {payer.team: nanos for payer, nanos in parts} == {"design": 6, "press": 3}


weights = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10**12), min_size=1)


@given(st.integers(-(10**15), 10**15), weights)
def test_parts_add_up_and_none_is_a_nano_dollar_off(nanos: int, by: dict[str, int]) -> None:
    parts, whole = share(nanos, by), sum(by.values())
    assert sum(parts.values()) == nanos
    for name, weight in by.items():
        assert abs(parts[name] * whole - nanos * weight) < whole


payers = st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]))


@given(st.integers(-(10**12), 10**12), st.lists(st.tuples(payers, st.integers(0, 10**9))))
def test_each_team_bears_its_part_whatever_its_keys(
    nanos: int, costs: list[tuple[tuple[str, str], int]]
) -> None:
    calls = [call(cost, team, key=key) for (team, key), cost in costs]
    parts = share_by_team(nanos, calls, calls)
    assert sum(part for _, part in parts) == nanos
    paid: dict[str, int] = {}
    for each in calls:
        paid[each.team] = paid.get(each.team, 0) + each.cost_nanos
    if whole := sum(paid.values()):
        for team, cost in paid.items():
            of_team = sum(part for payer, part in parts if payer.team == team)
            assert abs(of_team * whole - nanos * cost) < whole
