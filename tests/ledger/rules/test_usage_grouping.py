"""The groups of usage reports."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.ledger.rules.usage_grouping import NOT_SPLIT, QUARTER_MS, Grouping


def quarter(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) // QUARTER_MS


def hour(day: str, at: str, zone: str = "Europe/Berlin") -> str:
    row = {"day": day, "quarter": quarter(at)}
    return Grouping.of("hour").group(row, ZoneInfo(zone))[0]


@pytest.mark.parametrize(
    ("by", "named"),
    [("", "cost_centre"), ("team,", "team"), ("tag:", "tag:NAME"), ("team, day,team", "twice")],
)
def test_what_is_no_grouping_is_said(by: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Grouping.of(by)


def test_columns_are_read_once() -> None:
    grouping = Grouping.of("day, week,tag:a,hour,tag:b,month")
    assert grouping.names == ("day", "week", "tag:a", "hour", "tag:b", "month")
    assert grouping.columns == ("day", "tags", "quarter", "month")


@pytest.mark.parametrize(
    ("day", "week"),
    [("2026-11-29", "2026-W48"), ("2026-11-30", "2026-W49"), ("2027-01-01", "2026-W53")],
)
def test_a_week_is_that_of_iso_8601(day: str, week: str) -> None:
    assert Grouping.of("week").group({"day": day}, UTC) == (week,)


def test_an_hour_is_that_of_the_clock_on_the_wall() -> None:
    assert hour("2026-11-25", "2026-11-25T12:15") == "2026-11-25 13:00"
    assert hour("2026-11-25", "2026-11-25T12:15", "Asia/Kathmandu") == "2026-11-25 18:00"


def test_the_hours_of_a_day_add_up_to_the_day() -> None:
    """A call settled after midnight, and a row of a closed month."""
    assert hour("2026-11-25", "2026-11-25T23:30") == "2026-11-25 23:00"
    assert hour("2026-12-01", "2026-11-25T12:15") == "2026-12-01 00:00"


def test_a_missing_column_splits_nothing_and_a_name_like_ours_is_quoted() -> None:
    grouping = Grouping.of("upstream,hour,team,tag:x,model,owner")
    row = {"day": "2026-11-25", "team": NOT_SPLIT, "tags": '{"x":"a"}', "model": "", "owner": ""}
    assert grouping.group(row, UTC) == (
        NOT_SPLIT, NOT_SPLIT, f'"{NOT_SPLIT}"', "a", "(unknown)", "(untagged)",
    )  # fmt: skip
