"""A key's limits against its team's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.rules.limits import limit_above_team
from gateway.model.caller import PERIODS, Limits

counts = st.none() | st.integers(0, 5)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    budget = draw(counts)
    return Limits(
        budget_nanos=budget,
        budget_period=None if budget is None else draw(st.sampled_from(PERIODS)),
        paid_images_per_day=draw(counts),
        requests_per_minute=draw(counts),
        max_in_flight=draw(counts),
        max_reference_images=draw(counts),
        models=draw(st.none() | st.frozensets(st.sampled_from("abc"))),
        may_bypass_cache=draw(st.none() | st.booleans()),
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
    ("name", "own", "above"),
    [
        ("paid_images_per_day", 2, 1),
        ("requests_per_minute", 2, 1),
        ("max_in_flight", 1, 0),
        ("max_reference_images", 2, 1),
        ("models", frozenset("ab"), frozenset("a")),
        ("may_bypass_cache", True, False),
    ],
)
def test_each_limit_is_named_where_it_is_beyond(name: str, own: object, above: object) -> None:
    key = replace(Limits(), **{name: own})  # type: ignore[arg-type]
    team = replace(Limits(), **{name: above})  # type: ignore[arg-type]

    assert limit_above_team(key, team, Limits()) == name
    assert limit_above_team(team, team, key) is None
