"""A picture of a dashboard's data: each panel where Grafana puts it, as Prometheus answers."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from tests.dashboards import asking
from tests.dashboards.asking import STEP_SECONDS, Window
from tests.dashboards.charts import INK, PALE, Answered, draw
from tests.dashboards.prometheus import Prometheus

COLUMN_INCHES, ROW_INCHES, DPI = 0.6, 0.26, 96
COLOURS = 96
"""So many are enough for flat areas and thin lines, and make a small file."""
BACKGROUND = "#f4f5f5"
Box = tuple[float, float, float, float]


def draw_dashboard(name: str, prometheus: Prometheus, window: Window, path: Path) -> None:
    """Ask everything that the dashboard asks, and write it as a PNG."""
    found = asking.dashboard(name)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in found["panels"]) + 3
    figure = Figure((24 * COLUMN_INCHES, rows * ROW_INCHES), DPI, facecolor=BACKGROUND)
    figure.text(0.008, 1 - 1.4 / rows, found["title"], fontsize=13, color=INK, weight="bold")
    said = (
        "A minute of mixed traffic over two gateways, as Prometheus answered; times are minutes "
        f"and seconds of it. Shaded: {', '.join(mark.place for mark in asking.marks(name))}."
    )
    figure.text(0.008, 1 - 2.3 / rows, said, fontsize=8, color=PALE)
    marks = [span for mark in asking.marks(name) for span in _spans(window, prometheus, mark)]
    for panel in found["panels"]:
        box = _box(panel["gridPos"], rows)
        if panel["type"] == "row":
            figure.text(box[0], box[1] + 0.25 / rows, panel["title"], fontsize=10, color=INK)
            continue
        _frame(figure, box, panel["title"], rows)
        queries = asking.queries_of(name, panel)
        answers = [(query, window.ask(prometheus, query)) for query in queries]
        draw(figure.add_axes(_inside(box, panel, rows)), Answered(panel, answers, window, marks))
    _write(figure, path)


def _box(grid: Mapping[str, int], rows: int) -> Box:
    """Left, bottom, width and height, as parts of the figure, below the title."""
    gap = 0.003
    return (
        grid["x"] / 24 + gap,
        1 - (grid["y"] + grid["h"] + 2.9) / rows + gap / 3,
        grid["w"] / 24 - 2 * gap,
        grid["h"] / rows - gap / 1.5,
    )


def _inside(box: Box, panel: Mapping[str, Any], rows: int) -> Box:
    """Where the drawing goes: room for the title, the axes' texts and the legend."""
    left, bottom, width, height = box
    above = 1.3 / rows
    if panel["type"] == "timeseries":
        return left + 0.034, bottom + 2.7 / rows, width - 0.042, height - above - 2.8 / rows
    if panel["type"] == "heatmap":
        return left + 0.034, bottom + 0.9 / rows, width - 0.042, height - above - 1.1 / rows
    return left + 0.008, bottom + 0.2 / rows, width - 0.016, height - above - 0.2 / rows


def _frame(figure: Figure, box: Box, title: str, rows: int) -> None:
    left, bottom, width, height = box
    figure.add_artist(
        Rectangle((left, bottom), width, height, facecolor="white", edgecolor="#d8dadd", zorder=-1)
    )
    figure.text(left + 0.005, bottom + height - 1 / rows, title, fontsize=8, color=PALE)


def _spans(
    window: Window, prometheus: Prometheus, mark: asking.Query
) -> Sequence[tuple[float, float]]:
    """From when to when an annotation holds, for each run of its points."""
    moments = sorted(
        {
            at
            for series in window.ask(prometheus, mark)
            for at, value in series.points
            if math.isfinite(value)
        }
    )
    spans: list[tuple[float, float]] = []
    for at in moments:
        if spans and at - spans[-1][1] <= STEP_SECONDS:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))
    return spans


def _write(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    flat = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    flat.save(path, optimize=True)
