"""The chart of a usage report: money over time, in colours by what the report is grouped by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.console.rules.bar_chart import BarChart, Series, bar_chart, series_of

TIMES = ("hour", "day", "week", "month")
"""Dimensions that are bars, and not colours."""
MOST_DAYS = 92
"""Beyond so many days a bar is a month."""
MOST_COLOURED = 60
"""With more groups a chart has one colour."""

SPENT = "spent"


class Amount(NamedTuple):
    """A block of a chart: its bar, its colour's name, and how high it is."""

    bar: str
    series: str
    usd: Decimal


def bars_by(first_day: str, last_day: str) -> str:
    """What a bar stands for in a report of these days."""
    days = date.fromisoformat(last_day) - date.fromisoformat(first_day)
    return "day" if days.days < MOST_DAYS else "month"


def grouping_over_time(by: str, groups: int, first_day: str, last_day: str) -> str:
    """What a chart of a report by this dimension is grouped by.

    With many groups it has one colour: a report of all of them by day is long, and most are others.
    """
    bars = bars_by(first_day, last_day)
    return f"{bars},{by}" if groups <= MOST_COLOURED else bars


def days_between(first_day: str, last_day: str) -> list[str]:
    first, last = date.fromisoformat(first_day), date.fromisoformat(last_day)
    return [(first + timedelta(i)).isoformat() for i in range((last - first).days + 1)]


def amounts_of(lines: Iterable[Mapping[str, Any]]) -> Iterator[Amount]:
    """What the lines of a report by a time spent, all in one colour."""
    return (Amount(line["group"], SPENT, Decimal(line["spent_usd"])) for line in lines)


def spent_over_time(time: str, days: tuple[str, str], amounts: Iterable[Amount]) -> BarChart:
    """The chart of what was spent in these days, by a time.

    Days without spending are bars too; other times only where something was asked for.
    """
    amounts = list(amounts)
    values: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    for each in amounts:
        if each.usd > 0:
            values[each.series][each.bar] = each.usd
    bars = days_between(*days) if time == "day" else sorted({each.bar for each in amounts})
    series = series_of(values, bars) or [Series(SPENT, [Decimal(0)] * len(bars))]
    return bar_chart(bars, series)
