"""How amounts, shares and times are written for people."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from gateway.console.rendering import day, moment, money, share


@pytest.mark.parametrize(
    ("usd", "written"),
    [("0", "$0.00"), ("0.01", "$0.01"), ("0.0123456", "$0.0123"), ("0.000001", "<$0.0001"),
     ("1234.5678", "$1,234.57"), ("-0.5", "−$0.50"), ("-0.0000001", "−<$0.0001"), (None, "–")],
)  # fmt: skip
def test_an_amount_is_exact_to_the_cent_and_finer_below_a_dollar(
    usd: str | None, written: str
) -> None:
    assert money(usd) == written


@pytest.mark.parametrize(
    ("part", "written"), [(None, "–"), (0.0, "0 %"), (0.0421, "4.2 %"), (1, "100 %")]
)
def test_a_share_is_per_cent(part: float | None, written: str) -> None:
    assert share(part) == written


def test_times_are_of_the_gateways_zone() -> None:
    assert moment("2026-11-30T23:30:00Z", ZoneInfo("Europe/Berlin")) == "1 Dec 2026, 00:30"
    assert (day("2026-11-03"), day("(untagged)")) == ("3 Nov 2026", "(untagged)")
