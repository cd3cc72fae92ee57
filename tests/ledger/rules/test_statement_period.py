"""The time that a statement covers, in its own time zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.rules.statement_period import Coverage, NotCovered, coverage

BERLIN = ZoneInfo("Europe/Berlin")
BY_CALL = StatementOptions()
BY_DAY = StatementOptions(granularity="day")
BY_MONTH = StatementOptions(granularity="month")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def covered(
    *times: str, period: str | None = "2026-11", options: StatementOptions = BY_CALL,
    now: str = "2026-12-05",
) -> Coverage:  # fmt: skip
    lines = [StatementLine(n, "u", "", at(time), 1) for n, time in enumerate(times, 1)]
    return coverage(lines, period, options, UTC, now_ms=at(now), edge_ms=7)


def test_a_period_is_a_month_in_the_statements_zone() -> None:
    found = covered("2026-11-05", options=replace(BY_CALL, zone=BERLIN))
    assert found.days == ("2026-11-01", "2026-11-30")
    assert (found.span.from_ms, found.span.until_ms) == (
        at("2026-10-31T23:00"), at("2026-11-30T23:00"),
    )  # fmt: skip
    assert (found.span.edge_ms, found.period) == (7, "2026-11")


def test_a_month_that_goes_on_is_covered_until_the_last_line() -> None:
    found = covered("2026-11-05", "2026-11-09", now="2026-11-20")
    assert found.span.until_ms == at("2026-11-09") + 1


def test_without_a_period_it_is_the_time_from_the_first_line_to_the_last() -> None:
    found = covered("2026-11-09", "2026-11-05", period=None)
    assert (found.days, found.period) == (("2026-11-05", "2026-11-09"), "")
    assert (found.span.from_ms, found.span.until_ms) == (at("2026-11-05"), at("2026-11-09") + 1)


def test_sums_are_of_whole_days_or_months() -> None:
    assert covered("2026-11-05", options=BY_DAY).days == ("2026-11-01", "2026-11-30")
    assert covered("2026-11-05", options=BY_DAY, period=None).days == ("2026-11-05", "2026-11-05")
    whole = covered("2026-11-05", options=BY_MONTH, period=None)
    assert (whole.days, whole.period) == (("2026-11-01", "2026-11-30"), "2026-11")
    half = covered("2026-11-05", options=BY_DAY, now="2026-11-20")
    assert (half.days, half.period) == (("2026-11-01", "2026-11-05"), "2026-11")


@pytest.mark.parametrize(
    ("options", "time"), [(BY_DAY, "2026-11-20"), (BY_MONTH, "2026-11-05")], ids=["day", "month"]
)
def test_a_sum_of_a_time_that_is_not_over_is_refused(options: StatementOptions, time: str) -> None:
    for period in ("2026-11", None):
        with pytest.raises(NotCovered, match="which is not over"):
            covered(time, options=options, period=period, now="2026-11-20T12:00")


def test_lines_outside_of_the_month_are_counted_and_the_first_is_named() -> None:
    with pytest.raises(NotCovered, match="line 2 is of 2026-10-31, and so 2 lines are outside"):
        covered("2026-11-05", "2026-10-31T23:59:59", "2026-12-01")


def test_a_statement_without_lines_covers_nothing() -> None:
    with pytest.raises(NotCovered, match="it has no lines"):
        covered()
