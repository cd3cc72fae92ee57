"""A key's limits against its team's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gateway.accounts.rules.limits import LIMITS, Limit, limit_above_team
from gateway.model.caller import PERIODS, Limits

counts = st.none() | st.integers(0, 5)
VALUES: Mapping[str, SearchStrategy[Any]] = {
    "count": counts,
    "names": st.none() | st.frozensets(st.sampled_from("abc")),
    "flag": st.none() | st.booleans(),
}
BEYOND: Mapping[str, tuple[object, object]] = {
    "count": (2, 1),
    "names": (frozenset("ab"), frozenset("a")),
    "flag": (True, False),
}
"""By type, a value and one that it is beyond. Budgets are compared below."""


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    budget = draw(counts)
    others = {
        each.column: draw(VALUES[each.type.name]) for each in LIMITS if each.type.name in VALUES
    }
    return Limits(
        budget_nanos=budget,
        budget_period=None if budget is None else draw(st.sampled_from(PERIODS)),
        **others,
    )


@given(limits(), limits())
def test_what_stays_as_it_was_may_stay(before: Limits, above: Limits) -> None:
    assert limit_above_team(before, above, before) is None


@given(limits(), limits())
def test_the_teams_own_limits_are_within_them(above: Limits, before: Limits) -> None:
    assert limit_above_team(above, above, before) is None


@given(limits(), limits())
def test_nothing_is_beyond_a_team_without_limits(own: Limits, before: Limits) -> None:
    assert limit_above_team(own, Limits(), before) is None


@given(limits(), limits())
def test_an_unset_limit_is_never_beyond(above: Limits, before: Limits) -> None:
    assert limit_above_team(Limits(), above, before) is None


@given(limits(), limits(), limits())
def test_who_is_beyond_stays_so_where_the_team_has_less(
    own: Limits, above: Limits, before: Limits
) -> None:
    if limit_above_team(own, above, before) == "requests_per_minute":
        lower = replace(above, requests_per_minute=0)
        assert limit_above_team(own, lower, before) == "requests_per_minute"


@pytest.mark.parametrize(
    ("own", "period", "above", "above_period", "is_beyond"),
    [
        (5, "month", 5, "month", False),
        (6, "month", 5, "month", True),
        (6, "day", 5, "month", True),
        (5, "day", 5, "month", False),
        (6, "total", 5, "month", False),
        (6, "month", 5, "day", False),
        (6, None, 5, "month", True),
    ],
)
def test_a_budget_is_compared_where_its_period_is_no_longer(
    own: int, period: str, above: int, above_period: str, is_beyond: bool
) -> None:
    key = Limits(budget_nanos=own, budget_period=period)  # type: ignore[arg-type]
    team = Limits(budget_nanos=above, budget_period=above_period)  # type: ignore[arg-type]

    assert (limit_above_team(key, team, Limits()) == "budget_usd") is is_beyond


@pytest.mark.parametrize(
    "limit", [each for each in LIMITS if each.type.name in BEYOND], ids=lambda each: each.name
)
def test_each_limit_is_named_where_it_is_beyond(limit: Limit) -> None:
    own, above = BEYOND[limit.type.name]
    key = replace(Limits(), **{limit.column: own})  # type: ignore[arg-type]
    team = replace(Limits(), **{limit.column: above})  # type: ignore[arg-type]

    assert limit_above_team(key, team, Limits()) == limit.name
    assert limit_above_team(team, team, key) is None
