"""Panels drawn from Prometheus's answers, one function for each of Grafana's kinds of panels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from tests.dashboards.asking import Query, Window
from tests.dashboards.prometheus import Series
from tests.dashboards.units import written

INK, PALE, GRID = "#24292e", "#6e7680", "#e6e8eb"
COLOURS = {
    "green": "#56a64b", "yellow": "#e0b400", "orange": "#ff780a", "red": "#e02f44",
    "blue": "#3274d9", "purple": "#a352cc",
}  # fmt: skip
PALETTE = (
    "#56a64b", "#e0b400", "#3274d9", "#ff780a", "#a352cc", "#37872d", "#5794f2", "#8e8e8e",
    "#b877d9", "#c4162a",
)  # fmt: skip
SMALL = 6.5
LINES = 3
"""Of a legend."""


@dataclass(frozen=True)
class Answered:
    """A panel with what its queries brought; `marks` are the times that an annotation holds."""

    panel: Mapping[str, Any]
    answers: Sequence[tuple[Query, Sequence[Series]]]
    window: Window
    marks: Sequence[tuple[float, float]]

    @property
    def defaults(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.panel["fieldConfig"]["defaults"]
        return found

    @property
    def unit(self) -> str:
        return str(self.defaults.get("unit", "short"))

    @property
    def decimals(self) -> int | None:
        return self.defaults.get("decimals")

    def seconds(self, at: float) -> float:
        """Since the range began."""
        return at - self.window.start

    def named(self) -> list[tuple[str, Series]]:
        """Every series under its legend's name, what brought nothing but NaN left out."""
        return [
            (name_of(query, series), series)
            for query, found in self.answers
            for series in found
            if any(math.isfinite(value) for _, value in series.points)
        ]

    def colour_at(self, value: float, otherwise: str = "green") -> str:
        """The colour of the highest threshold that the value has reached."""
        colour = otherwise
        for step in self.defaults.get("thresholds", {}).get("steps", []):
            if step["value"] is None or value >= step["value"]:
                colour = step["color"]
        return tint(colour)

    def own_colour(self, name: str) -> str | None:
        """The colour that the panel gives to a series."""
        for override in self.panel["fieldConfig"].get("overrides", []):
            if override["matcher"]["options"] == name:
                for change in override["properties"]:
                    if change["id"] == "color":
                        return tint(change["value"]["fixedColor"])
        return None


def tint(colour: str) -> str:
    return COLOURS.get(colour, colour)


def name_of(query: Query, series: Series) -> str:
    """The series' name as the legend's format makes it."""
    if query.legend in ("", "__auto"):
        return ", ".join(value for name, value in series.labels.items() if name != "__name__")
    return re.sub(r"{{(\w+)}}", lambda found: series.labels.get(found[1], ""), query.legend)


def draw(axes: Axes, answered: Answered) -> None:
    """Draw a panel into its place."""
    DRAWN[answered.panel["type"]](axes, answered)


def draw_lines(axes: Axes, answered: Answered) -> None:
    custom = answered.defaults["custom"]
    named = sorted(answered.named(), key=lambda each: -_mean(each[1]))
    colours = [
        answered.own_colour(name) or PALETTE[i % len(PALETTE)] for i, (name, _) in enumerate(named)
    ]
    if custom["stacking"]["mode"] == "normal":
        _stack(axes, answered, named, colours)
    else:
        stairs = custom.get("lineInterpolation") == "stepAfter"
        for (name, series), colour in zip(named, colours, strict=True):
            axes.plot(
                _times(series, answered), _values(series), color=colour, linewidth=1.1, label=name,
                drawstyle="steps-post" if stairs else "default",
            )  # fmt: skip
    for start, end in answered.marks:
        axes.axvspan(
            answered.seconds(start),
            answered.seconds(end),
            color=COLOURS["red"],
            alpha=0.08,
            linewidth=0,
        )
    axes.set_ylim(bottom=0, top=_top(axes, custom))
    _lines_of_thresholds(axes, answered, custom)
    _dress(axes, answered)


def _stack(
    axes: Axes,
    answered: Answered,
    named: Sequence[tuple[str, Series]],
    colours: Sequence[str],
) -> None:
    moments = sorted({at for _, series in named for at, _ in series.points})
    width = moments[1] - moments[0] if len(moments) > 1 else 1.0
    floor = [0.0] * len(moments)
    for (name, series), colour in zip(named, colours, strict=True):
        values = {at: value for at, value in series.points if math.isfinite(value)}
        heights = [values.get(at, 0.0) for at in moments]
        axes.bar(
            [answered.seconds(at) for at in moments], heights, width, floor, color=colour,
            label=name, linewidth=0,
        )  # fmt: skip
        floor = [low + height for low, height in zip(floor, heights, strict=True)]


def _top(axes: Axes, custom: Mapping[str, Any]) -> float:
    highest = max(float(axes.get_ylim()[1]), 1e-9)
    return float(max(highest, custom.get("axisSoftMax", 0) * 1.02))


def _lines_of_thresholds(axes: Axes, answered: Answered, custom: Mapping[str, Any]) -> None:
    if custom.get("thresholdsStyle", {}).get("mode") != "dashed":
        return
    for step in answered.defaults["thresholds"]["steps"]:
        if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
            axes.axhline(step["value"], color=tint(step["color"]), linestyle="--", linewidth=0.9)


def _dress(axes: Axes, answered: Answered) -> None:
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    _show_time(axes, answered)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, answered.unit)))
    handles, names = axes.get_legend_handles_labels()
    last = {name: series.last for name, series in answered.named()}
    said = [f"{name}  {written(last[name], answered.unit)}" for name in names]
    columns = max(1, min(3, int(_legend_chars(axes) / max(map(len, said), default=1))))
    axes.legend(
        handles[: LINES * columns], said[: LINES * columns],
        loc="upper left", bbox_to_anchor=(-0.06, -0.15), ncols=columns, fontsize=SMALL,
        frameon=False, handlelength=0.9, columnspacing=1.2, labelcolor=INK, borderaxespad=0,
    )  # fmt: skip


def _legend_chars(axes: Axes) -> float:
    """How many characters of a legend fit beside each other."""
    return float(axes.get_position().width) * 250 - 8


def _show_time(axes: Axes, answered: Answered) -> None:
    """Minutes and seconds since the range began."""
    length = answered.seconds(answered.window.end)
    axes.set_frame_on(False)
    axes.set_xlim(0, length)
    axes.tick_params(labelsize=SMALL, colors=PALE, length=0)
    axes.xaxis.set_major_locator(MultipleLocator(15))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}")
    )


def draw_number(axes: Axes, answered: Answered) -> None:
    axes.set_axis_off()
    ((_, series),) = answered.named()
    colour = answered.colour_at(series.last)
    if len(series.points) > 1:
        spark = axes.inset_axes((0, 0, 1, 0.45))
        spark.set_axis_off()
        values = [0 if math.isnan(value) else value for value in _values(series)]
        spark.fill_between(_times(series, answered), values, color=colour, alpha=0.2, linewidth=0)
        spark.plot(_times(series, answered), values, color=colour, linewidth=0.8)
        spark.set_ylim(0, max(max(values) * 1.05, 1e-9))
    said = written(series.last, answered.unit, answered.decimals)
    axes.text(0.5, 0.6, said, fontsize=17, color=colour, ha="center", va="center", weight="bold")


def draw_bars(axes: Axes, answered: Answered) -> None:
    axes.set_axis_off()
    named = sorted(answered.named(), key=lambda each: -each[1].last)[:8]
    longest = max([answered.defaults.get("max", 0), *(series.last for _, series in named)])
    height = 1 / max(len(named), 4)
    for row, (name, series) in enumerate(named):
        y, value = 1 - (row + 0.85) * height, series.last
        colour = answered.colour_at(value)
        axes.barh(y, 1, 0.35 * height, color=GRID, linewidth=0)
        axes.barh(y, min(1, value / longest), 0.35 * height, color=colour, linewidth=0)
        y += 0.24 * height
        axes.text(0, y, name, fontsize=SMALL, color=INK, va="bottom")
        said = written(value, answered.unit, answered.decimals)
        axes.text(1, y, said, fontsize=SMALL, color=colour, va="bottom", ha="right")
    axes.set(xlim=(0, 1), ylim=(-0.05, 1))


def draw_heat(axes: Axes, answered: Answered) -> None:
    ((_, found),) = answered.answers
    rising = sorted(found, key=lambda series: float(series.labels["le"]))
    moments = [at for at, _ in rising[0].points]
    counts = [dict(series.points) for series in rising]
    cells: list[list[float]] = []
    for below, this in zip([{}, *counts], counts, strict=False):
        cells.append([max(0.0, this.get(at, 0) - below.get(at, 0)) for at in moments])
    filled = [row for row, values in enumerate(cells) if max(values) > 1e-9] or [0]
    low, high = max(0, filled[0] - 1), min(len(cells) - 1, filled[-1] + 1)
    shown = [[math.sqrt(v) if v > 1e-9 else math.nan for v in row] for row in cells[low : high + 1]]
    step = (moments[1] - moments[0]) if len(moments) > 1 else 1
    edges = [answered.seconds(at - step / 2) for at in (*moments, moments[-1] + step)]
    axes.pcolormesh(edges, range(len(shown) + 1), shown, cmap="YlOrRd", linewidth=0)
    bounds = [float(series.labels["le"]) for series in rising[low : high + 1]]
    names = ["more" if math.isinf(bound) else written(bound, "s") for bound in bounds]
    every = 1 + len(names) // 8
    axes.set_yticks(range(1, len(names) + 1, every), names[::every])
    _show_time(axes, answered)


def draw_sheet(axes: Axes, answered: Answered) -> None:
    axes.set_axis_off()
    organised = answered.panel["transformations"][-1]["options"]
    titles: Mapping[str, str] = organised["renameByName"]
    order = sorted(organised["indexByName"], key=lambda name: int(organised["indexByName"][name]))
    labels = [name for name in order if not name.startswith("Value #")]
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for query, found in answered.answers:
        for series in found:
            row = tuple(series.labels.get(label, "") for label in labels)
            rows.setdefault(row, {})[f"Value #{query.ref}"] = series.last
    values = [name for name in order if name not in labels]
    sort_by = next(n for n in values if titles[n] == _sorted_by(answered))
    lined = sorted(rows.items(), key=lambda each: -each[1].get(sort_by, 0))
    places = [i / len(order) for i in range(len(order))]
    height = 1 / max(len(lined) + 1, 6)
    for place, name in zip(places, order, strict=True):
        axes.text(place, 1 - height / 2, titles[name], fontsize=SMALL, color=PALE, weight="bold")
    for line, (row, cells) in enumerate(lined, start=1):
        y = 1 - (line + 0.5) * height
        axes.axhline(y + height * 0.8, color=GRID, linewidth=0.6)
        said = [(text, INK) for text in row] + [
            _cell(answered, titles[name], cells.get(name, math.nan)) for name in values
        ]
        for place, (text, colour) in zip(places, said, strict=True):
            axes.text(place, y, text, fontsize=7.5, color=colour)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _sorted_by(answered: Answered) -> str:
    return str(answered.panel["options"]["sortBy"][0]["displayName"])


def _cell(answered: Answered, title: str, value: float) -> tuple[str, str]:
    """A cell's text and colour, by what the panel says of its column."""
    changes: dict[str, Any] = {}
    for override in answered.panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == title:
            changes = {change["id"]: change["value"] for change in override["properties"]}
    colour = INK
    if math.isfinite(value):
        for step in changes.get("thresholds", {}).get("steps", []):
            if step["value"] is None or value >= step["value"]:
                colour = tint(step["color"])
    return written(value, changes["unit"], changes.get("decimals")), colour


def _times(series: Series, answered: Answered) -> list[float]:
    return [answered.seconds(at) for at, _ in series.points]


def _values(series: Series) -> list[float]:
    return [value for _, value in series.points]


def _mean(series: Series) -> float:
    finite = [value for _, value in series.points if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else 0.0


DRAWN: Mapping[str, Callable[[Axes, Answered], None]] = {
    "timeseries": draw_lines,
    "stat": draw_number,
    "bargauge": draw_bars,
    "heatmap": draw_heat,
    "table": draw_sheet,
}
