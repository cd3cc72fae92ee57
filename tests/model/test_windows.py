"""Windows: which days a budget counts, and when it starts anew."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.caller import PERIODS, Limits, Period
from gateway.model.windows import (
    ALL_TIME,
    TOTAL,
    budget_window,
    day_of,
    days_before,
    window,
)

BERLIN = ZoneInfo("Europe/Berlin")
# Clocks that skip or repeat midnight, odd offsets, and one that skipped a whole day.
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Africa/Cairo",
        "America/Sao_Paulo",
        "America/Havana",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Beirut",
    )
]
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: int(moment.timestamp()) * 1000 + moment.microsecond // 1000
)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def test_a_day_is_the_days_of_its_zone() -> None:
    late = ms("2026-11-23T23:30:00+00:00")
    assert day_of(late, UTC) == "2026-11-23"
    assert day_of(late, BERLIN) == "2026-11-24"


def test_the_last_millisecond_of_a_day_belongs_to_it() -> None:
    midnight = ms("2026-11-24T00:00:00+01:00")
    assert day_of(midnight - 1, BERLIN) == "2026-11-23"
    assert day_of(midnight, BERLIN) == "2026-11-24"


@pytest.mark.parametrize(
    ("period", "first", "last", "resets"),
    [
        ("day", "2026-11-25", "2026-11-25", "2026-11-26T00:00:00+01:00"),
        ("week", "2026-11-23", "2026-11-29", "2026-11-30T00:00:00+01:00"),
        ("month", "2026-11-01", "2026-11-30", "2026-12-01T00:00:00+01:00"),
    ],
)
def test_a_window_is_the_calendars(period: Period, first: str, last: str, resets: str) -> None:
    found = window(period, "2026-11-25", BERLIN)
    assert (found.first_day, found.last_day, found.resets_ms) == (first, last, ms(resets))


def test_a_week_may_lie_in_two_years() -> None:
    found = window("week", "2027-01-01", UTC)
    assert (found.first_day, found.last_day) == ("2026-12-28", "2027-01-03")


def test_the_window_of_everything_never_resets() -> None:
    found = window("total", "2026-11-25", BERLIN)
    assert (found.first_day, found.last_day, found.resets_ms) == (TOTAL, TOTAL, None)


def test_a_day_of_twenty_five_hours_resets_after_twenty_five_hours() -> None:
    found = window("day", "2026-10-25", BERLIN)
    assert found.resets_ms == ms("2026-10-25T00:00:00+02:00") + 25 * 3_600_000


def test_a_midnight_that_the_clocks_skip_is_the_instant_of_the_skip() -> None:
    cairo = ZoneInfo("Africa/Cairo")
    resets = window("day", "2026-04-23", cairo).resets_ms
    assert resets == ms("2026-04-23T22:00:00+00:00")
    assert day_of(resets, cairo) == "2026-04-24"


def test_days_before_cross_months() -> None:
    assert days_before("2026-03-01", 30) == "2026-01-30"


@given(INSTANTS, st.sampled_from(ZONES), st.sampled_from(PERIODS))
def test_a_window_holds_its_day_and_ends_where_the_next_begins(
    now_ms: int, zone: ZoneInfo, period: Period
) -> None:
    day = day_of(now_ms, zone)
    found = window(period, day, zone)
    if found.resets_ms is None:
        return
    assert found.first_day <= day <= found.last_day
    assert found.resets_ms > now_ms
    assert day_of(found.resets_ms, zone) > found.last_day
    assert day_of(found.resets_ms - 1, zone) <= found.last_day


@given(st.dates(date(1990, 1, 1), date(2060, 1, 1)), st.sampled_from(PERIODS))
def test_days_of_one_window_agree_on_it(day: date, period: Period) -> None:
    found = window(period, day.isoformat(), UTC)
    if found.resets_ms is None:
        return
    for edge in (found.first_day, found.last_day):
        assert window(period, edge, UTC) == found
    after = (date.fromisoformat(found.last_day) + timedelta(days=1)).isoformat()
    assert window(period, after, UTC).first_day == after


@pytest.mark.parametrize(
    ("limits", "first", "last"),
    [
        (Limits(budget_period="week", budget_weekday=3), "2026-11-19", "2026-11-25"),
        (Limits(budget_period="week", budget_weekday=2), "2026-11-25", "2026-12-01"),
        (Limits(budget_period="month", budget_month_day=15), "2026-11-15", "2026-12-14"),
        (Limits(budget_period="month", budget_month_day=28), "2026-10-28", "2026-11-27"),
        (Limits(budget_period="day", budget_weekday=3), "2026-11-25", "2026-11-25"),
        (Limits(budget_weekday=3, budget_month_day=15), TOTAL, TOTAL),
    ],
)
def test_a_budget_begins_on_its_weekday_or_its_day_of_the_month(
    limits: Limits, first: str, last: str
) -> None:
    found = budget_window(limits, "2026-11-25", BERLIN)
    assert (found.first_day, found.last_day) == (first, last)


@given(
    st.dates(date(1990, 1, 1), date(2060, 1, 1)),
    st.sampled_from(PERIODS),
    st.integers(0, 6),
    st.integers(1, 28),
)
def test_windows_that_begin_on_any_day_follow_each_other_without_gap(
    day: date, period: Period, weekday: int, month_day: int
) -> None:
    limits = Limits(budget_period=period, budget_weekday=weekday, budget_month_day=month_day)
    found = budget_window(limits, day.isoformat(), UTC)
    if found == ALL_TIME:
        return
    assert found.first_day <= day.isoformat() <= found.last_day
    first = date.fromisoformat(found.first_day)
    assert period != "week" or first.weekday() == weekday
    assert period != "month" or first.day == month_day
    before = budget_window(limits, days_before(found.first_day, 1), UTC)
    assert before.resets_ms == found.starts_ms


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("period", PERIODS)
def test_a_window_begins_where_the_one_before_it_ended(period: Period, zone: ZoneInfo) -> None:
    day = "2026-03-29"
    now = window(period, day, zone)
    if period == "total":
        assert (now.starts_ms, now.resets_ms) == (None, None)
        return
    before = window(period, days_before(now.first_day, 1), zone)
    assert now.starts_ms == before.resets_ms
    assert day_of(now.starts_ms or 0, zone) == now.first_day
