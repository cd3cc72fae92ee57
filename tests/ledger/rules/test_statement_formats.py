"""Amounts and times as statements write them: read in the way that was said, or refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.statement_formats import Dates, Numbers, amount_of, moment_of

NOON = int(datetime(2026, 11, 5, 12, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("text", "numbers", "amount", "currency"),
    [
        ("0.04", "plain", "0.04", ""),
        ("-1e-9", "plain", "-1e-9", ""),
        ("$1,234.50", "us", "1234.50", "USD"),
        ("1234.5", "us", "1234.5", ""),
        ("(3.20)", "us", "-3.20", ""),
        ("($3.20)", "us", "-3.20", "USD"),
        ("3.20-", "us", "-3.20", ""),
        ("-$3.20", "us", "-3.20", "USD"),
        ("$-3.20", "us", "-3.20", "USD"),
        ("\u22123.20", "us", "-3.20", ""),
        (".5", "us", "0.5", ""),
        ("1,234,567.891", "us", "1234567.891", ""),
        ("USD 12.00", "us", "12.00", "USD"),
        ("1.234,50", "german", "1234.50", ""),
        ("1.234,50 €", "german", "1234.50", "EUR"),
        ("3,20-", "german", "-3.20", ""),
        ("3,20- EUR", "german", "-3.20", "EUR"),
        ("-0,04\xa0€", "german", "-0.04", "EUR"),
        ("1.234", "german", "1234", ""),
    ],
)
def test_amounts_are_read_as_they_are_written(
    text: str, numbers: Numbers, amount: str, currency: str
) -> None:
    assert amount_of(text, numbers) == (Decimal(amount), currency)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("$1", "plain"), ("1,5", "plain"), ("(1)", "plain"), ("", "plain"), ("NaN", "plain"),
        ("1.234,50", "us"), ("1,23", "us"), ("12,34.50", "us"), ("(3.20", "us"), ("3.20)", "us"),
        ("(-3.20)", "us"), ("-3.20-", "us"), ("$3.20 EUR", "us"), ("", "us"), ("$", "us"),
        ("1,234.50", "german"), ("1.23", "german"), ("1.2345,0", "german"),
    ],
)  # fmt: skip
def test_an_amount_that_is_written_in_another_way_is_refused(text: str, numbers: Numbers) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the line's own message says what is wrong
        amount_of(text, numbers)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=2))
def test_us_and_german_amounts_are_the_same_amount(amount: Decimal) -> None:
    us = f"{amount:,.2f}"
    german = us.translate(str.maketrans(",.", ".,"))
    assert amount_of(us, "us") == amount_of(german, "german") == (amount, "")


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("2026-11-05T12:00:00Z", "iso"),
        ("2026-11-05t12:00:00z", "iso"),
        ("2026-11-05 12:00:00.000000000Z", "iso"),
        ("2026-11-05T13:00:00+01:00", "iso"),
        (str(NOON // 1000), "iso"),
        ("11/05/2026 12:00", "us"),
        ("11/5/2026, 12:00:00 PM", "us"),
        ("05.11.2026 12:00", "german"),
        ("5.11.2026, 12:00:00", "german"),
    ],
)
def test_times_are_read_as_they_are_written(text: str, dates: Dates) -> None:
    assert moment_of(text, dates, UTC) == NOON


def test_a_day_or_a_month_begins_at_its_midnight_in_the_statements_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = int(datetime(2026, 11, 1, tzinfo=berlin).timestamp()) * 1000
    for text, dates in (("2026-11", "iso"), ("11/1/2026", "us"), ("1.11.2026", "german")):
        assert moment_of(text, dates, berlin) == first  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("11/05/2026", "iso"), ("05.11.2026", "iso"), ("2026-13", "iso"), ("", "iso"),
        ("2026-11-05", "us"), ("13/05/2026", "us"), ("11/05/2026 13:00 PM", "us"),
        ("11/05/2026", "german"), ("31.11.2026", "german"),
    ],
)  # fmt: skip
def test_a_time_that_is_written_in_another_way_is_refused(text: str, dates: Dates) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the line's own message says what is wrong
        moment_of(text, dates, UTC)


@pytest.mark.parametrize("numbers", ["us", "german"])
@pytest.mark.parametrize(
    "text",
    [
        "1" * 50_000 + "x",
        "(" + " " * 200 + "x",
        "(" + " " * 97 + "x",
        "1" * 99 + "x",
        "1" + ",111" * 24 + "x",
        "1" + " " * 98 + "x",
    ],
)
def test_no_text_is_looked_at_for_long(text: str, numbers: Numbers) -> None:
    """A look at 200 spaces took 20 s, in which nothing else was done in the process."""
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"^$"):
        amount_of(text, numbers)

    assert time.process_time() - begun < 0.1


@pytest.mark.parametrize("text", ["-  $  5", "5  USD  -", "(   5 )"])
def test_spaces_within_an_amount_are_as_one(text: str) -> None:
    assert amount_of(text, "us")[0] == -5
