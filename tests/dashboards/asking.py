"""The dashboards as they are checked in, and their questions as Grafana would put them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.dashboards.prometheus import Prometheus, Series

FOLDER = Path("deploy/grafana/dashboards")
INTERVAL_SECONDS = 2
"""What Grafana would be told of how often Prometheus scrapes."""
STEP_SECONDS = 1.0

_ALL: Mapping[str, str] = {"job": ".*", "team": ".*", "model": ".*"}
_VARIABLE = re.compile(r"\$(\w+)")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class Query:
    """One query of a panel, variable or mark, as it stands in a dashboard."""

    dashboard: str
    place: str
    expr: str
    is_instant: bool = False
    legend: str = ""
    ref: str = ""

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.place}{f' {self.ref}' if self.ref else ''}"


def dashboard(name: str) -> dict[str, Any]:
    """One of the dashboards: `spend` or `service`."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def names() -> list[str]:
    """The dashboards that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows' titles."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def queries_of(name: str, panel: Mapping[str, Any]) -> list[Query]:
    return [
        Query(
            name,
            panel["title"],
            target["expr"],
            is_instant=target["instant"],
            legend=target.get("legendFormat", ""),
            ref=target["refId"],
        )
        for target in panel["targets"]
    ]


def queries(name: str) -> Iterator[Query]:
    """Every query of every panel."""
    for panel in panels(name):
        yield from queries_of(name, panel)


def marks(name: str) -> Iterator[Query]:
    """Every annotation's query."""
    for mark in dashboard(name)["annotations"]["list"]:
        yield Query(name, mark["name"], mark["expr"])


def variables(name: str) -> Iterator[Query]:
    """Every variable that is filled by a query."""
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(name, variable["name"], variable["query"]["query"])


@dataclass(frozen=True)
class Window:
    """A dashboard's time range, and what is chosen in its variables: at first all."""

    start: float
    end: float
    chosen: Mapping[str, str] = field(default_factory=lambda: _ALL)

    def put(self, expr: str) -> str:
        """The expression with every macro and variable in it replaced, as Grafana does."""
        rate_seconds = max(STEP_SECONDS + INTERVAL_SECONDS, 4 * INTERVAL_SECONDS)
        known = {
            "__rate_interval": f"{rate_seconds:.0f}s",
            "__interval": f"{STEP_SECONDS:.0f}s",
            "__interval_ms": f"{STEP_SECONDS * 1000:.0f}",
            "__range": f"{self.end - self.start:.0f}s",
            "__range_ms": f"{(self.end - self.start) * 1000:.0f}",
            **_ALL,
            **self.chosen,
        }
        return _VARIABLE.sub(lambda found: known[found[1]], expr)

    def ask(self, prometheus: Prometheus, query: Query) -> Sequence[Series]:
        """What the query brings in this range."""
        expr = self.put(query.expr)
        if query.is_instant:
            return prometheus.instant(expr, self.end)
        return prometheus.over_time(expr, self.start, self.end, STEP_SECONDS)

    def offered(self, prometheus: Prometheus, variable: Query) -> list[str]:
        """What a variable offers."""
        found = _LABEL_VALUES.fullmatch(self.put(variable.expr))
        assert found, variable.expr
        return prometheus.values(found[1], found[2])
