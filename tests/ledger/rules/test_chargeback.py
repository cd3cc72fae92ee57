"""Cents that add up to an invoice, and what a line of a chargeback says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.chargeback import CENT_NANOS, BookingDate, LineTemplate, in_cents

AMOUNTS = st.dictionaries(st.text(max_size=3), st.integers(-(10**12), 10**12), max_size=30)


@given(AMOUNTS)
def test_the_cents_add_up_to_the_rounded_invoice(nanos: dict[str, int]) -> None:
    cents, total = in_cents(nanos), sum(nanos.values())
    assert cents.keys() == nanos.keys()
    assert -CENT_NANOS <= 2 * (total - sum(cents.values()) * CENT_NANOS) < CENT_NANOS


@given(AMOUNTS)
def test_no_part_is_a_cent_off(nanos: dict[str, int]) -> None:
    for name, cents in in_cents(nanos).items():
        assert abs(cents * CENT_NANOS - nanos[name]) < CENT_NANOS


@given(AMOUNTS)
def test_the_larger_remainder_is_rounded_up_first(nanos: dict[str, int]) -> None:
    cents = in_cents(nanos)
    rounded_up = [name for name in nanos if cents[name] * CENT_NANOS > nanos[name]]
    others = [name for name in nanos if name not in rounded_up]
    least = min((nanos[name] % CENT_NANOS for name in rounded_up), default=CENT_NANOS)
    assert all(nanos[name] % CENT_NANOS <= least for name in others)


def test_three_thirds_of_a_dollar_are_a_dollar() -> None:
    third = 333_333_333
    assert in_cents({"a": third, "b": third, "c": third + 1}) == {"a": 33, "b": 33, "c": 34}


@pytest.mark.parametrize(
    ("date", "day"), [("month_end", "2026-12-31"), ("next_month", "2027-01-01")]
)
def test_a_month_is_posted_on_its_last_day_or_after_it(date: BookingDate, day: str) -> None:
    template = LineTemplate("6815", "Images {month}, {cost_centre}: {teams} {n}", date)
    assert template.date_of("2026-12") == day
    assert template.text_of("2026-12", "47{teams}", "a b") == "Images 2026-12, 47a b: a b {n}"
