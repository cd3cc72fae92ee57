"""The panels that both dashboards are made of, over grafana-foundation-sdk.

Every panel has a unit and a description that says how to read it. Widths are columns of 24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, table
from grafana_foundation_sdk.builders import dashboard as frame
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    FieldTextAlignment,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.units import Short

Built: TypeAlias = Builder[Panel]
Steps: TypeAlias = Sequence[tuple[float, str]]
"""From this value on, this colour; below the first step, green."""

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"
TEAL, GREY = "#37872d", "#8e8e8e"
HIGH = 8
"""Grid rows of a chart; a stat has half of them."""


def query(expr: str, legend: str = "__auto") -> prometheus.Dataquery:
    """A query over the dashboard's time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).range()


def instant(expr: str, legend: str = "__auto") -> prometheus.Dataquery:
    """A query at the range's end."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).instant()


def chart(
    title: str,
    description: str,
    unit: str,
    *queries: prometheus.Dataquery,
    width: int = 8,
    stacked: bool = False,
    steps: Steps = (),
    colours: Mapping[str, str] | None = None,
    top: float | None = None,
    stairs: bool = False,
) -> Built:
    """Lines over time; `stacked` as bars upon each other, `stairs` for whole states.

    `steps` are drawn as dashed lines, `colours` are by series, `top` is where the axis ends at
    least.
    """
    panel = (
        Timeseries()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(HIGH)
        .min(0)
        .line_width(1)
        .fill_opacity(60 if stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .draw_style(GraphDrawStyle.BARS if stacked else GraphDrawStyle.LINE)
        .stacking(
            common.StackingConfig()
            .mode(StackingMode.NORMAL if stacked else StackingMode.NONE)
            .group("A")
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
            .sort_by("Mean")
            .sort_desc(True)
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .targets(_lettered(queries))
    )
    if stairs:
        panel.line_interpolation(LineInterpolation.STEP_AFTER)
    if top is not None:
        panel.axis_soft_max(top)
    if steps:
        panel.thresholds(_thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_fixed(colour)])
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: prometheus.Dataquery,
    *,
    width: int = 4,
    steps: Steps = (),
    decimals: int | None = None,
) -> Built:
    """One figure, with a sparkline where its query is one over time."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(HIGH // 2)
        .graph_mode(BigValueGraphMode.AREA)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .thresholds(_thresholds(steps))
        .targets(_lettered([query]))
    )
    return panel if decimals is None else panel.decimals(decimals)


def bars(
    title: str,
    description: str,
    unit: str,
    query: prometheus.Dataquery,
    *,
    width: int = 8,
    steps: Steps = (),
    top: float | None = None,
) -> Built:
    """A horizontal bar a series, as long as its last value; the query is an instant one."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(HIGH)
        .min(0)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.GRADIENT)
        .show_unfilled(True)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .thresholds(_thresholds(steps, calm=GREEN if steps else BLUE))
        .targets(_lettered([query]))
    )
    return panel if top is None else panel.max(top)


def heat(title: str, description: str, query: prometheus.Dataquery, *, width: int = 8) -> Built:
    """A histogram's buckets over time, in seconds: the darker, the more requests."""
    colours = (
        heatmap.HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("YlOrRd")
        .scale(HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(width)
        .height(HIGH)
        .calculate(False)
        .color(colours)
        .rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.AUTO))
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
        .show_legend()
        .show_y_histogram()
        .targets(_lettered([query.format(PromQueryFormat.HEATMAP).legend_format("{{le}}")]))
    )


def sheet(
    title: str,
    description: str,
    columns: Sequence[tuple[str, str, str]],
    *,
    labels: Mapping[str, str],
    width: int = 24,
    steps: Mapping[str, Steps] | None = None,
    sort_by: str = "",
) -> Built:
    """A table: a row for each set of labels, a column for each query.

    `columns` are (name, unit, expression), `labels` the columns' names by label, in their
    order; `steps` colour the cells of a column.
    """
    queries = [instant(expr).format(PromQueryFormat.TABLE) for _, _, expr in columns]
    letters = [chr(ord("A") + i) for i in range(len(columns))]
    names = {
        f"Value #{letter}": name for letter, (name, _, _) in zip(letters, columns, strict=True)
    }
    order = {label: place for place, label in enumerate([*labels, *names])}
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(width)
        .height(HIGH)
        .align(FieldTextAlignment.AUTO)
        .targets(_lettered(queries))
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": {**labels, **names},
                },
            )
        )
    )
    if sort_by:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(True)])
    for name, unit, _ in columns:
        panel.override_by_name(name, _cell(unit, (steps or {}).get(name, ())))
    return panel


def _cell(unit: str, steps: Steps) -> list[DynamicConfigValue]:
    values = [DynamicConfigValue("unit", unit)]
    if unit == Short:
        values.append(DynamicConfigValue("decimals", 0))
    if steps:
        values.append(DynamicConfigValue("thresholds", _thresholds(steps).build()))
        values.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return values


def _lettered(queries: Sequence[prometheus.Dataquery]) -> list[Builder[Dataquery]]:
    return [each.ref_id(chr(ord("A") + i)).datasource(DATASOURCE) for i, each in enumerate(queries)]


def _thresholds(steps: Steps, calm: str = GREEN) -> frame.ThresholdsConfig:
    marks = [Threshold(value=None, color=calm), *(Threshold(at, colour) for at, colour in steps)]
    return frame.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(marks)


def _fixed(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED, "fixedColor": colour})
