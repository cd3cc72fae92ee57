"""Which bars and colours a chart of spending has."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.console.rules.spend_chart import (
    MOST_COLOURED,
    Amount,
    amounts_of,
    grouping_over_time,
    spent_over_time,
)


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
    lines = [{"group": "2026-01-02", "spent_usd": "1"}, {"group": "2026-01-03", "spent_usd": "0"}]
    chart = spent_over_time("day", ("2026-01-01", "2026-01-04"), amounts_of(lines))

    assert [label.text for label in chart.labels] == [f"2026-01-0{day}" for day in range(1, 5)]
    assert [block.bar for block in chart.blocks] == ["2026-01-02"]


def test_groups_are_colours_by_what_they_spent() -> None:
    amounts = [Amount("2026-01", name, Decimal(usd)) for name, usd in (("press", 1), ("web", 2))]
    chart = spent_over_time("month", ("2026-01-01", "2026-12-31"), amounts)

    assert chart.legend == ("web", "press")
