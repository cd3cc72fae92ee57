"""Windows: the days that a budget counts, in one time zone.

A day is its ISO text ("2026-11-23"), so that a window is a range of texts. A week starts on
Monday and a month on its first day, unless a budget begins on another. The window "total" is all
time and never resets.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from gateway.model.caller import Limits, Period

TOTAL: Final = "total"
"""The day under which an account's sum over all days is booked."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_DAY = timedelta(days=1)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The days from `first_day` to `last_day`, both within.

    `starts_ms` is its first instant and `resets_ms` the first after it. The window of all time
    has "total" as both days, and neither instant.
    """

    first_day: str
    last_day: str
    starts_ms: int | None
    resets_ms: int | None


ALL_TIME: Final = Window(TOTAL, TOTAL, None, None)


def day_of(now_ms: int, zone: tzinfo) -> str:
    """The day, in `zone`, that holds this instant."""
    return (_EPOCH + now_ms * _MILLISECOND).astimezone(zone).date().isoformat()


@functools.lru_cache(256)
def window(period: Period, day: str, zone: tzinfo, shift_days: int = 0) -> Window:
    """The window of this period that holds `day`.

    It begins `shift_days` after the calendar's: with 3, a week on Thursday, a month on its 4th day.
    """
    if period == "total":
        return ALL_TIME
    shift = shift_days * _ONE_DAY
    first, after = _bounds(period, date.fromisoformat(day) - shift)
    first_day, next_day = (first + shift).isoformat(), (after + shift).isoformat()
    last_day = days_before(next_day, 1)
    return Window(first_day, last_day, start_ms(first_day, zone), start_ms(next_day, zone))


def budget_window(limits: Limits, day: str, zone: tzinfo) -> Window:
    """The window of a budget with these limits that holds `day`."""
    shifts = {"week": limits.budget_weekday or 0, "month": (limits.budget_month_day or 1) - 1}
    period = limits.budget_period or "total"
    return window(period, day, zone, shifts.get(period, 0))


def days_before(day: str, days: int) -> str:
    """The day this number of days earlier."""
    return (date.fromisoformat(day) - days * _ONE_DAY).isoformat()


def month_days(month: str) -> tuple[str, str]:
    """The first and the last day of a calendar month such as "2026-11". Raises ValueError."""
    if len(month) != len("2026-11"):
        raise ValueError(f"{month!r} is not a month")
    first, after = _bounds("month", date.fromisoformat(f"{month}-01"))
    return first.isoformat(), (after - _ONE_DAY).isoformat()


def start_ms(day: str, zone: tzinfo) -> int:
    """The first instant of a day, in unix milliseconds.

    If the clocks skip its midnight, this is the instant of the skip.
    """
    midnight = datetime.fromisoformat(day).replace(tzinfo=zone)
    return (midnight.astimezone(UTC) - _EPOCH) // _MILLISECOND


def _bounds(period: Period, today: date) -> tuple[date, date]:
    """The first day of a window, and the first day after it."""
    if period == "day":
        return today, today + _ONE_DAY
    if period == "week":
        monday = today - today.weekday() * _ONE_DAY
        return monday, monday + 7 * _ONE_DAY
    first = today.replace(day=1)
    return first, (first + 31 * _ONE_DAY).replace(day=1)
