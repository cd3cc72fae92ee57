"""Money: decimal text to whole nano-dollars and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.money import NANOS, nanos_of, usd

AMOUNTS = st.integers(0, 10**18)


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        ("0.01", 10_000_000),
        (Decimal("0.01"), 10_000_000),
        (3, 3 * NANOS),
        ("1e-9", 1),
        (" 0.37 ", 370_000_000),
        (".5", 500_000_000),
        ("0", 0),
        ("1000000000", 10**18),
    ],
)
def test_an_amount_in_dollars_is_whole_nanos(value: object, nanos: int) -> None:
    assert nanos_of(value) == nanos


def test_a_fraction_of_a_nano_is_rounded_up() -> None:
    assert nanos_of("0.0000000001") == 1
    assert nanos_of(Decimal("0.0100000001")) == 10_000_001


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0.01,
        "-1",
        -1,
        Decimal("-0.01"),
        "NaN",
        Decimal("NaN"),
        Decimal("Infinity"),
        "inf",
        "",
        "1,5",
        "1_000",
        "0x10",
        "١",
        "1000000001",
        "1e999999999",
        [1],
        {},
    ],
)
def test_what_is_no_amount_is_unknown(value: object) -> None:
    assert nanos_of(value) is None


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0"),
        (10_000_000, "0.01"),
        (1, "0.000000001"),
        (1_500_000_000, "1.50"),
        (-10_000_000, "-0.01"),
        (2 * NANOS, "2.00"),
    ],
)
def test_nanos_are_shown_as_dollars(nanos: int, text: str) -> None:
    assert usd(nanos) == text


@given(AMOUNTS)
def test_what_is_shown_is_read_back_to_the_nano(nanos: int) -> None:
    assert nanos_of(usd(nanos)) == nanos


@given(st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=15))
def test_money_is_never_less_than_what_was_written(amount: Decimal) -> None:
    nanos = nanos_of(amount)
    assert nanos is not None
    assert 0 <= nanos - amount * NANOS < 1
