"""Spending that a person should look at before the budget is used up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.ledger.rules.spending_forecast import forecast_nanos
from gateway.model.money import NANOS
from gateway.model.reservation import Balance

EARLY_PART = 10
"""In the first tenth of a window its rate says little."""
DAYS_COMPARED = 14
FEWEST_DAYS = 3
TIMES_THE_HIGHEST = 3
LEAST_UNUSUAL_NANOS = NANOS


@dataclass(frozen=True, slots=True)
class RefusedEdit:
    """An edit that a budget of `limit_nanos` did not cover, and the team that asked for it."""

    limit_nanos: int
    needed_nanos: int
    team: str
    owner: str


def forecast_over_budget(balance: Balance, now_ms: int) -> int | None:
    """The forecast of a budget that will be used up before its window ends, else None.

    A budget that is used up already is reported by its thresholds.
    """
    limit, window = balance.limit_nanos, balance.window
    if limit is None or balance.spent_nanos >= limit:
        return None
    if window.starts_ms is None or window.resets_ms is None:
        return None
    if (now_ms - window.starts_ms) * EARLY_PART < window.resets_ms - window.starts_ms:
        return None
    forecast = forecast_nanos(balance.spent_nanos, window, now_ms)
    return forecast if forecast is not None and forecast > limit else None


def unusual_highest(today_nanos: int, days_before: Sequence[int]) -> int | None:
    """The highest of the days before, if today's spending is far above it; else None.

    Compares with days on which something was spent; a few cents are never unusual.
    """
    spent = [nanos for nanos in days_before if nanos > 0]
    if len(spent) < FEWEST_DAYS or today_nanos < LEAST_UNUSUAL_NANOS:
        return None
    return max(spent) if today_nanos > TIMES_THE_HIGHEST * max(spent) else None
