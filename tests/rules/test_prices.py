"""Prices: what is held for a call, and which costs are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.prices import ceiling, per_image, plausible

NANOS = st.integers(0, 10**15)


def test_the_configured_price_counts_where_nothing_was_seen() -> None:
    assert ceiling(10_000_000, None, 1) == 10_000_000


def test_a_price_that_rose_is_held_from_then_on() -> None:
    assert ceiling(10_000_000, 25_000_000, 1) == 25_000_000


def test_a_price_that_fell_is_still_held_as_configured() -> None:
    assert ceiling(10_000_000, 1, 1) == 10_000_000


def test_every_picture_is_held_for() -> None:
    assert ceiling(10_000_000, 11_000_000, 4) == 44_000_000


@pytest.mark.parametrize(("price", "n"), [(-1, 1), (1, 0), (1, -3)])
def test_a_senseless_ceiling_is_an_error(price: int, n: int) -> None:
    with pytest.raises(ValueError, match="no sense"):
        ceiling(price, None, n)


@pytest.mark.parametrize(
    ("cost", "believed"), [(None, None), (-1, None), (0, 0), (100, 100), (101, None)]
)
def test_an_unbelievable_cost_is_unknown_and_never_zero(
    cost: int | None, believed: int | None
) -> None:
    assert plausible(cost, 100) == believed


@given(NANOS, st.integers(1, 10))
def test_the_cost_of_one_picture_never_adds_up_to_less_than_the_bill(cost: int, n: int) -> None:
    assert cost <= per_image(cost, n) * n < cost + n
