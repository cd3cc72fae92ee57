"""The chart of a usage report: money over time, in colours by what the report is grouped by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from gateway.console.rules.bar_chart import BarChart, Series, bar_chart, series_of

TIMES = ("hour", "day", "week", "month")
"""Dimensions that are bars, and not colours."""
MOST_DAYS = 92
"""Beyond so many days a bar is a month."""
MOST_COLOURED = 60
"""With more groups a chart has one colour."""


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


def spent_over_time(lines: Iterable[Mapping[str, Any]], report: Mapping[str, Any]) -> BarChart:
    """The chart of lines by a time, or by a time and another dimension.

    Days without spending are bars too; other times only where something was spent.
    """
    lines = list(lines)
    time, *others = report["by"].split(",")
    values: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    for line in lines:
        amount = Decimal(line["spent_usd"])
        if amount > 0:
            name = line.get("name") or line["groups"][others[0]] if others else "spent"
            values[name][line["groups"][time]] = amount
    if time == "day":
        bars = days_between(report["from"], report["to"])
    else:
        bars = sorted({line["groups"][time] for line in lines})
    series = series_of(values, bars) or [Series("spent", [Decimal(0)] * len(bars))]
    return bar_chart(bars, series)
