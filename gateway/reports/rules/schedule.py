"""When reports are due: weeks and months that have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from types import MappingProxyType
from typing import Literal

from gateway.model.caller import Period
from gateway.model.windows import Window, day_of, days_before, window

Schedule = Literal["weekly", "monthly"]
PERIODS: Mapping[Schedule, Period] = MappingProxyType({"weekly": "week", "monthly": "month"})
HOURS_AFTER_MIDNIGHT = 6
"""Calls that are in flight at midnight are of the day before: they have ended by then."""
MOST_MISSED = 5
_HOUR_MS = 3_600_000


def latest_ended(schedule: Schedule, now_ms: int, zone: tzinfo) -> Window:
    """The latest week or month whose report is due."""
    day = day_of(now_ms - HOURS_AFTER_MIDNIGHT * _HOUR_MS, zone)
    return before(schedule, window(PERIODS[schedule], day, zone), zone)


def before(schedule: Schedule, later: Window, zone: tzinfo) -> Window:
    """The week or month before this one."""
    return window(PERIODS[schedule], days_before(later.first_day, 1), zone)


def missed(schedule: Schedule, through_day: str, now_ms: int, zone: tzinfo) -> Sequence[Window]:
    """The weeks or months after `through_day` that are due, oldest first.

    Of those missed while no process ran, the latest five.
    """
    found: list[Window] = []
    each = latest_ended(schedule, now_ms, zone)
    while each.last_day > through_day and len(found) < MOST_MISSED:
        found.append(each)
        each = before(schedule, each, zone)
    return found[::-1]
