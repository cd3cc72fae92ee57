"""Spending that a person should look at: forecasts over a budget, and unusual days."""

from __future__ import annotations

from datetime import UTC

import pytest

from gateway.alerts.rules.spending import forecast_over_budget, unusual_highest
from gateway.model.caller import Account, Limits
from gateway.model.money import NANOS
from gateway.model.reservation import Balance
from gateway.model.windows import ALL_TIME, Window, window

NOVEMBER = window("month", "2026-11-25", UTC)
STARTS_MS = NOVEMBER.starts_ms or 0
DAY_MS = 86_400_000


def balance(spent: int, *, limit: int | None = 100, days: Window = NOVEMBER) -> Balance:
    """A balance in dollars."""
    nanos = None if limit is None else limit * NANOS
    account = Account("team:design", "team", "design", Limits(budget_nanos=nanos))
    return Balance(account, spent * NANOS, 0, 0, 0, days, "month")


@pytest.mark.parametrize(
    ("spent", "day", "forecast"),
    [
        (40, 10, 120),
        (33, 10, None),  # 99 at the end
        (40, 2, None),  # too early to say
        (100, 10, None),  # used up: the thresholds say so
    ],
)
def test_a_forecast_over_the_budget_is_reported(spent: int, day: int, forecast: int | None) -> None:
    found = forecast_over_budget(balance(spent), STARTS_MS + day * DAY_MS)
    assert found == (None if forecast is None else forecast * NANOS)


def test_a_budget_that_never_resets_and_no_budget_have_no_forecast() -> None:
    now_ms = STARTS_MS + 10 * DAY_MS
    assert forecast_over_budget(balance(40, days=ALL_TIME), now_ms) is None
    assert forecast_over_budget(balance(40, limit=None), now_ms) is None


@pytest.mark.parametrize(
    ("today", "before", "highest"),
    [
        (7, [1, 2, 2], 2),
        (6, [1, 2, 2], None),
        (7, [2, 2], None),  # too few days to compare with
        (7, [2, 2, 0, -1], None),
    ],
)
def test_a_day_far_above_the_highest_before_is_unusual(
    today: int, before: list[int], highest: int | None
) -> None:
    found = unusual_highest(today * NANOS, [nanos * NANOS for nanos in before])
    assert found == (None if highest is None else highest * NANOS)


def test_a_few_cents_are_never_unusual() -> None:
    assert unusual_highest(NANOS - 1, [1, 1, 1]) is None
