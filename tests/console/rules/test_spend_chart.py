"""Which bars and colours a chart of spending has."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.console.rules.spend_chart import (
    MOST_COLOURED,
    grouping_over_time,
    spent_over_time,
)


def line(usd: str, **groups: str) -> dict[str, Any]:
    return {"spent_usd": usd, "groups": groups, "group": ", ".join(groups.values())}


@pytest.mark.parametrize(
    ("groups", "last_day", "expected"),
    [(3, "2026-01-31", "day,team"), (3, "2026-12-31", "month,team"),
     (MOST_COLOURED + 1, "2026-01-31", "day")],
)  # fmt: skip
def test_bars_are_days_or_months_and_few_groups_have_colours(
    groups: int, last_day: str, expected: str
) -> None:
    assert grouping_over_time("team", groups, "2026-01-01", last_day) == expected


def test_a_day_without_spending_is_a_bar_of_nothing() -> None:
    report = {"by": "day", "from": "2026-01-01", "to": "2026-01-04"}
    chart = spent_over_time([line("1", day="2026-01-02"), line("0", day="2026-01-03")], report)

    assert [label.text for label in chart.labels] == [f"2026-01-0{day}" for day in range(1, 5)]
    assert [block.bar for block in chart.blocks] == ["2026-01-02"]


def test_groups_are_colours_by_their_names() -> None:
    report = {"by": "day,key", "from": "2026-01-01", "to": "2026-01-01"}
    named = {**line("2", day="2026-01-01", key="key_1"), "name": "design/web"}
    chart = spent_over_time([named, line("1", day="2026-01-01", key="key_2")], report)

    assert chart.legend == ("design/web", "key_2")
