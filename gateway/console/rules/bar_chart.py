"""A chart of stacked bars as numbers: what stands where in an SVG of fixed height and any width.

Across, positions are per cent of the width, so that a chart fits every screen without a script and
its texts keep their size. Down, they are pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

HEIGHT, TOP, BOTTOM = 208, 10, 184
MOST_SERIES = 6
OTHERS = "others"
_STEPS = tuple(map(Decimal, ("1", "1.5", "2", "3", "4", "5", "6", "8", "10")))
_GAP = 0.28
"""The part of a bar's place that stays empty."""
_MOST_LABELS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart: a name, and a value for each bar."""

    name: str
    values: Sequence[Decimal]

    @property
    def total(self) -> Decimal:
        return sum(self.values, Decimal(0))


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a bar; `color` is the number of its series, from 1."""

    x: str
    width: str
    y: float
    height: float
    color: int
    bar: str
    series: str
    value: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across, at a value."""

    y: float
    value: str


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a bar below it."""

    x: str
    text: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """What an SVG shows; `values` are decimal texts, to be written as the reader likes."""

    blocks: tuple[Block, ...]
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    legend: tuple[str, ...]
    height: int = HEIGHT
    bottom: int = BOTTOM


def bar_chart(bars: Sequence[str], series: Sequence[Series]) -> BarChart:
    """A chart of these bars; the smallest series beyond MOST_SERIES are one of `OTHERS`."""
    shown = _at_most(series)
    sums = [sum((each.values[i] for each in shown), Decimal(0)) for i in range(len(bars))]
    top = _round_up(max(sums, default=Decimal(0)))
    blocks: list[Block] = []
    for i, bar in enumerate(bars):
        base = float(BOTTOM)
        for color, each in enumerate(shown, 1):
            height = round(float(each.values[i] / top) * (BOTTOM - TOP), 2)
            if height <= 0:
                continue
            base -= height
            left, width = (i + _GAP / 2) / len(bars), (1 - _GAP) / len(bars)
            value = str(each.values[i])
            place = (_percent(left), _percent(width), round(base, 2), height)
            blocks.append(Block(*place, color, bar, each.name, value))
    ticks = [Tick(BOTTOM - (BOTTOM - TOP) * i / 4, str(top * i / 4)) for i in (0, 2, 4)]
    legend = tuple(each.name for each in shown) if len(shown) > 1 else ()
    return BarChart(tuple(blocks), tuple(ticks), tuple(_labels(bars)), legend)


def _at_most(series: Sequence[Series]) -> Sequence[Series]:
    """The series by size, the smallest together where they are too many."""
    by_size = sorted(series, key=lambda each: -each.total)
    if len(by_size) <= MOST_SERIES:
        return by_size
    kept, rest = by_size[: MOST_SERIES - 1], by_size[MOST_SERIES - 1 :]
    together = [sum(values, Decimal(0)) for values in zip(*(x.values for x in rest), strict=True)]
    return [*kept, Series(OTHERS, together)]


def _round_up(largest: Decimal) -> Decimal:
    """The end of the scale: the next of `_STEPS` times a power of ten."""
    if largest <= 0:
        return Decimal(1)
    power = Decimal(10) ** largest.adjusted()
    return next(step * power for step in _STEPS if step * power >= largest)


def _labels(bars: Sequence[str]) -> list[Label]:
    """Names of the first and some further bars, as many as fit a narrow screen."""
    every = max(1, -(-len(bars) // _MOST_LABELS))
    return [
        Label(_percent((i + 0.5) / len(bars)), bar) for i, bar in enumerate(bars) if i % every == 0
    ]


def _percent(part: float) -> str:
    return f"{100 * part:.3f}%"


def series_of(values: Mapping[str, Mapping[str, Decimal]], bars: Sequence[str]) -> list[Series]:
    """The series of values by series and bar; a missing one is 0."""
    return [
        Series(name, [by_bar.get(bar, Decimal(0)) for bar in bars])
        for name, by_bar in values.items()
    ]
