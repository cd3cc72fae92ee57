"""Charts: bars are as high as their values, and none is lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.console.rules.bar_chart import BOTTOM, MOST_SERIES, OTHERS, TOP, Series, bar_chart

AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=9)


def series(name: str, *values: str) -> Series:
    return Series(name, [Decimal(value) for value in values])


@settings(max_examples=30)
@given(st.lists(st.lists(AMOUNTS, min_size=3, max_size=3), min_size=1, max_size=12))
def test_every_value_is_drawn_and_stands_on_the_one_below(rows: list[list[Decimal]]) -> None:
    chart = bar_chart("abc", [Series(str(i), values) for i, values in enumerate(rows)])

    for bar in "abc":
        blocks = [each for each in chart.blocks if each.bar == bar]
        base = float(BOTTOM)
        for block in blocks:
            assert block.y + block.height == pytest.approx(base, abs=0.02)
            base = block.y
        assert base >= TOP - 0.2
    assert len(chart.legend) <= MOST_SERIES


def test_the_scale_ends_at_a_round_number_above_the_highest_bar() -> None:
    chart = bar_chart(["mon", "tue"], [series("spent", "3.2", "1")])

    assert [tick.value for tick in chart.ticks] == ["0", "2", "4"]
    assert chart.blocks[0].height == pytest.approx(3.2 / 4 * (BOTTOM - TOP), abs=0.01)


def test_the_smallest_of_too_many_series_are_one() -> None:
    many = [series(f"team{i}", str(i)) for i in range(1, 10)]
    chart = bar_chart(["mon"], many)

    assert chart.legend == ("team9", "team8", "team7", "team6", "team5", OTHERS)
    assert chart.blocks[-1].value == "10"


def test_a_chart_of_nothing_has_a_scale_and_no_bar() -> None:
    chart = bar_chart(["mon"], [series("spent", "0")])

    assert (chart.blocks, chart.legend) == ((), ())
    assert [label.text for label in chart.labels] == ["mon"]


def test_many_bars_have_few_names() -> None:
    chart = bar_chart([str(day) for day in range(31)], [series("spent", *["1"] * 31)])

    assert [label.text for label in chart.labels] == ["0", "7", "14", "21", "28"]
