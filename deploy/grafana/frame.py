"""The frame of both dashboards: variables, links, annotations, rows and ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as frame
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import DATASOURCE, Built
from deploy.grafana.queries import JOB

TAG = "image-edit-gateway"
CLASSIC = 5
"""The query type of a variable whose query is written out."""


def assembled(
    uid: str,
    title: str,
    description: str,
    since: str,
    rows: Mapping[str, Sequence[Built]],
    marks: Mapping[str, tuple[str, str]],
) -> dashboard.Dashboard:
    """A dashboard of these rows; `marks` are its annotations: name → (expression, colour)."""
    built = (
        frame.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(since, "now")
        .timezone("browser")
        .refresh("30s")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(_to_the_other())
        .variables(_variables())
    )
    for name, (expr, colour) in marks.items():
        built.annotation(_mark(name, expr, colour))
    for row, panels in rows.items():
        built.with_row(frame.Row(row))
        for panel in panels:
            built.with_panel(panel)
    return _numbered(built.build())


def _numbered(made: dashboard.Dashboard) -> dashboard.Dashboard:
    """Ids from 1 in the order of the rows. New rows come last: links to a panel stay valid."""
    for number, panel in enumerate(made.panels or [], start=1):
        panel.id_val = number
    return made


def _variables() -> list[Builder[dashboard.VariableModel]]:
    return [
        frame.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _values("job", "Gateway", "label_values(gateway_build_info, job)"),
        _values("team", "Team", f"label_values(gateway_requests_total{{{JOB}}}, team)"),
        _values("model", "Model", f"label_values(gateway_requests_total{{{JOB}}}, model)"),
    ]


def _values(name: str, label: str, query: str) -> frame.QueryVariable:
    """A multiple choice; 'All', the default, also matches series without the label."""
    return (
        frame.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"qryType": CLASSIC, "query": query, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _mark(name: str, expr: str, colour: str) -> frame.AnnotationQuery:
    return (
        frame.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(expr)
    )


def _to_the_other() -> frame.DashboardLink:
    """Links to all dashboards with our tag, keeping the time range and the variables."""
    return (
        frame.DashboardLink("Gateway dashboards")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .icon("external link")
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )
