"""Prices: what is held for a call, and which costs are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.edit import AdapterFacts, Edit
from gateway.pricing.rules.ceilings import (
    MOST_TIMES_THE_PRICE,
    asked_of,
    ceiling,
    odd_price,
    per_image,
    plausible,
    price_fields,
)
from gateway.pricing.rules.image_tokens import Asked

NANOS = st.integers(0, 10**15)


def test_the_configured_price_counts_where_nothing_was_seen() -> None:
    assert ceiling(10_000_000, None, 1) == 10_000_000


def test_a_price_that_rose_is_held_from_then_on() -> None:
    assert ceiling(10_000_000, 25_000_000, 1) == 25_000_000


def test_a_price_that_fell_is_still_held_as_configured() -> None:
    assert ceiling(10_000_000, 1, 1) == 10_000_000


def test_every_picture_is_held_for() -> None:
    assert ceiling(10_000_000, 11_000_000, 4) == 44_000_000


def test_one_odd_cost_does_not_hold_a_fortune_for_every_further_call() -> None:
    assert ceiling(10_000_000, 9_990_000_000, 1) == 100_000_000
    assert ceiling(10_000_000, 9_990_000_000, 4) == 400_000_000


@given(st.integers(1, 10**15), st.none() | NANOS, st.integers(1, 10))
def test_a_ceiling_stays_within_what_the_price_allows(price: int, seen: int | None, n: int) -> None:
    assert price * n <= ceiling(price, seen, n) <= MOST_TIMES_THE_PRICE * price * n


def test_what_is_configured_as_free_is_held_at_what_it_was_seen_to_cost() -> None:
    assert ceiling(0, 30_000_000, 2) == 60_000_000


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


@pytest.mark.parametrize(
    ("cost", "n", "price", "odd"),
    [(100, 1, 10, None), (101, 1, 10, 101), (400, 4, 10, None), (401, 4, 10, 101), (9, 1, 0, None)],
)
def test_a_picture_above_ten_times_its_price_is_odd(
    cost: int, n: int, price: int, odd: int | None
) -> None:
    assert odd_price(cost, n, price) == odd


def test_what_goes_upstream_is_what_the_price_depends_on() -> None:
    fields = (("prompt", "a\r\nb"), ("partial_images", "3.0"), ("width", "64.0"), ("height", "6e1"))
    asked = asked_of(Edit("edits", "m", (*fields, ("input_fidelity", " high"))), AdapterFacts())
    assert asked == Asked(
        size="64x60", prompt_bytes=3, files=0, high_fidelity=True, partial_images=3
    )
    assert asked_of(Edit("edits", "m", (("partial_images", ""),)), AdapterFacts()) == Asked()


@pytest.mark.parametrize(
    ("fields", "quality", "size"),
    [
        ({}, "", ""),
        ({"quality": "auto", "size": "auto"}, "", ""),
        ({"quality": "High", "size": "1024x1024", "prompt": "x"}, "high", "1024x1024"),
        ({"width": "64", "height": "32"}, "", "64x32"),
        ({"size": "auto", "resolution": "2K"}, "", "2k"),
        ({"size": "1k", "resolution": "1K", "image_size": ""}, "", "1k"),
        # The upstream may read these as something else, so they count as the dearest.
        ({"size": "1k", "resolution": "4k"}, "", ""),
        ({"size": "64x64", "width": "4096", "height": "4096"}, "", ""),
        ({"quality": " low", "size": "1024x1024 "}, "", ""),
        ({"quality": "\u3000LOW", "size": "1\u212a"}, "", ""),
        ({"quality": "q" * 99, "size": "s" * 99}, "", ""),
    ],
)
def test_the_price_depends_on_the_quality_and_size_chosen(
    fields: dict[str, str], quality: str, size: str
) -> None:
    assert price_fields(fields.items()) == {"quality": quality, "size": size}
