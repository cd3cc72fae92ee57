"""The forecast of a budget's spending."""

from __future__ import annotations

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.spending_forecast import forecast_nanos
from gateway.model.money import NANOS
from gateway.model.windows import ALL_TIME, window

NOVEMBER = window("month", "2026-11-25", UTC)
STARTS_MS, RESETS_MS = NOVEMBER.starts_ms or 0, NOVEMBER.resets_ms or 0
DAY_MS = 86_400_000


def test_the_rate_so_far_holds_for_the_whole_window() -> None:
    assert forecast_nanos(10 * NANOS, NOVEMBER, STARTS_MS + 10 * DAY_MS) == 30 * NANOS


def test_the_first_call_of_a_month_is_no_rate() -> None:
    assert forecast_nanos(10 * NANOS, NOVEMBER, STARTS_MS + 1) == 240 * NANOS


def test_a_forecast_is_rounded_to_a_hundredth_of_a_cent() -> None:
    assert forecast_nanos(10_000_000, NOVEMBER, STARTS_MS + 29 * DAY_MS + 7) == 10_300_000


def test_a_window_that_never_ends_has_no_forecast() -> None:
    assert forecast_nanos(10, ALL_TIME, STARTS_MS) is None


@given(st.integers(0, 10**18), st.integers(STARTS_MS, RESETS_MS - 1))
def test_a_forecast_is_never_below_what_is_spent(spent: int, now_ms: int) -> None:
    forecast = forecast_nanos(spent, NOVEMBER, now_ms)
    assert forecast is not None
    assert spent <= forecast <= 24 * spent
