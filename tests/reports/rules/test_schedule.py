"""When reports are due, by the calendar alone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.reports.rules.schedule import MOST_MISSED, Schedule, before, latest_ended, missed

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


@pytest.mark.parametrize(
    ("schedule", "now", "first", "last"),
    [
        ("monthly", "2026-12-01T05:59:59", "2026-10-01", "2026-10-31"),
        ("monthly", "2026-12-01T06:00:00", "2026-11-01", "2026-11-30"),
        ("monthly", "2027-01-01T06:00:00", "2026-12-01", "2026-12-31"),
        ("weekly", "2026-11-30T05:59:59", "2026-11-16", "2026-11-22"),
        ("weekly", "2026-11-30T06:00:00", "2026-11-23", "2026-11-29"),
        ("weekly", "2026-12-06T23:59:59", "2026-11-23", "2026-11-29"),
    ],
)
def test_a_report_is_due_in_the_morning_after_its_last_day(
    schedule: Schedule, now: str, first: str, last: str
) -> None:
    days = latest_ended(schedule, at(now), BERLIN)
    assert (days.first_day, days.last_day) == (first, last)


def test_what_was_missed_is_due_oldest_first_up_to_a_number() -> None:
    def due(through: str) -> list[str]:
        days = missed("monthly", through, at("2027-03-02T12:00:00"), BERLIN)
        return [each.last_day for each in days]

    assert due("2027-02-28") == []
    assert due("2026-12-31") == ["2027-01-31", "2027-02-28"]
    assert due("2020-12-31") == [
        "2026-10-31", "2026-11-30", "2026-12-31", "2027-01-31", "2027-02-28",
    ]  # fmt: skip
    assert len(due("2020-12-31")) == MOST_MISSED


def test_the_month_before_a_month() -> None:
    november = latest_ended("monthly", at("2026-12-02T12:00:00"), BERLIN)
    assert before("monthly", november, BERLIN).first_day == "2026-10-01"
