"""A report is read from the smallest tables that have its dimensions, and each day from one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.rules.usage_sources import SumSource, sources
from gateway.model.windows import days_before

BY_KEY = ("key_id", "outcome", "cause")
BY_TEAM = ("team", "outcome", "cause")
MONTHS, TEAMS, DAYS = "month_rollups", "team_rollups", "rollups"


@pytest.mark.parametrize(
    ("columns", "first", "last", "expected"),
    [
        (BY_KEY, "2026-11-01", "2026-11-29", [(MONTHS, "2026-11", "2026-11")]),
        (BY_TEAM, "2026-01-01", "2026-11-29", [(MONTHS, "2026-01", "2026-11")]),
        (("month", *BY_KEY), "2026-01-01", "2026-11-30", [(MONTHS, "2026-01", "2026-11")]),
        (("day", *BY_TEAM), "2026-11-01", "2026-11-29", [(TEAMS, "2026-11-01", "2026-11-29")]),
        (("day", *BY_KEY), "2026-11-01", "2026-11-29", [(DAYS, "2026-11-01", "2026-11-29")]),
        (("end_user",), "2026-10-01", "2026-10-31", [(DAYS, "2026-10-01", "2026-10-31")]),
        (BY_KEY, "2026-11-01", "2026-11-28", [(DAYS, "2026-11-01", "2026-11-28")]),
        (BY_KEY, "2026-10-15", "2026-11-14", [(DAYS, "2026-10-15", "2026-11-14")]),
        (
            BY_TEAM, "2026-09-15", "2026-11-14",
            [(MONTHS, "2026-10", "2026-10"), (TEAMS, "2026-09-15", "2026-10-00"),
             (TEAMS, "2026-10-32", "2026-11-14")],
        ),
        (BY_KEY, "0001-01-01", "9999-12-31", [(MONTHS, "0001-01", "9999-12")]),
        (BY_KEY, "9999-12-02", "9999-12-31", [(DAYS, "9999-12-02", "9999-12-31")]),
        (BY_KEY, "2026-12-01", "2026-11-30", [(DAYS, "2026-12-01", "2026-11-30")]),
    ],
)  # fmt: skip
def test_months_are_whole_where_nothing_was_booked_after_the_report(
    columns: tuple[str, ...], first: str, last: str, expected: list[tuple[str, str, str]]
) -> None:
    assert sources(columns, first, last, "2026-11-29") == [SumSource(*each) for each in expected]  # type: ignore[arg-type]


days = st.dates().map(lambda each: each.isoformat())
near = st.integers(0, 800).map(lambda ago: days_before("2026-11-29", ago))


@given(st.tuples(near | days, near | days), near, near | days)
def test_every_day_on_which_something_was_booked_is_read_once(
    asked: tuple[str, str], newest: str, day: str
) -> None:
    (first, last), day = sorted(asked), min(day, newest)
    read = [
        each.table
        for each in sources(BY_KEY, first, last, newest)
        if each.first <= (day[:7] if each.table == MONTHS else day) <= each.last
    ]
    assert len(read) == (first <= day <= last)
