"""The dashboards as files: what the code builds, and what Grafana can read."""

from __future__ import annotations

import itertools
import json
import re
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.__main__ import dashboards
from gateway.telemetry.metrics.families import FAMILIES
from tests.dashboards.asking import (
    FOLDER,
    dashboard,
    marks,
    names,
    panels,
    queries,
    variables,
)

GRAFANA = FOLDER.parent
MACROS = {"__rate_interval", "__interval", "__interval_ms", "__range", "__range_ms"}

FIRST_TITLES = {
    "service": [
        "Now", "Requests", "Hit share", "Failed", "Overhead, 99 %", "Gateways up",
        "State readable", "Traffic", "Requests by outcome", "Hit share by team",
        "Refusals and failures by code", "Requests by team", "Reference images per edit",
        "Request size", "Latency", "Hits: distribution", "Misses: distribution",
        "Overhead: distribution", "Hits: quantiles", "Misses: quantiles",
        "Overhead: quantiles", "Upstream", "Calls by result", "Failed calls",
        "Upstream latency by model", "Upstream retries", "Account refusals", "Circuit",
        "Saturation", "In flight", "Queue length", "Queue time", "Cache and disks",
        "Cache size", "Stored results", "Evicted and damaged", "Age of the oldest result",
        "Disk free", "Recovered failures", "Ledger and usage", "Reservations",
        "Unwritten usage rows", "Age of the oldest unwritten row",
    ],
    "spend": [
        "Totals", "Spent", "Saved", "Saved share", "Paid pictures", "Cost per picture",
        "Estimated share", "Teams", "Spent by team", "Saved by cause", "Teams", "Budgets",
        "Budgets", "Budget used", "Budget left", "Forecast of budget", "Keys and models",
        "Keys by cost", "Keys by savings", "Models by cost", "Cost per picture by model",
        "Estimated costs", "Overruns",
    ],
}  # fmt: skip

both = pytest.mark.parametrize("name", names())


def test_what_is_checked_in_is_what_the_code_builds() -> None:
    """`make dashboards` writes them anew."""
    checked_in = {path.name: path.read_text() for path in FOLDER.iterdir()}

    assert checked_in == dict(dashboards())


@both
def test_grafana_s_own_types_read_it_and_lose_nothing(name: str) -> None:
    register_default_plugins()
    text = (FOLDER / f"{name}.json").read_text()
    read = Dashboard.from_json(json.loads(text))

    assert json.loads(json.dumps(read, cls=JSONEncoder)) == json.loads(text)


def test_ids_stay_so_that_links_to_a_panel_stay_valid() -> None:
    """Of the first release; later panels have later ids."""
    ids = {
        name: [panel["title"] for panel in sorted(dashboard(name)["panels"], key=itemgetter("id"))]
        for name in names()
    }

    assert {name: dashboard(name)["uid"] for name in names()} == {
        "service": "gateway-service",
        "spend": "gateway-spend",
    }
    for name, titles in FIRST_TITLES.items():
        assert ids[name][: len(titles)] == titles
        assert [panel["id"] for panel in dashboard(name)["panels"]] == [
            *range(1, len(ids[name]) + 1)
        ]


@both
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    everything = dashboard(name)["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(set(ids)) == len(ids)

    taken: dict[tuple[int, int], str] = {}
    for panel in everything:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in itertools.product(
            range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    rows = max(y for _, y in taken) + 1
    assert len(taken) == 24 * rows, "there are gaps"


@both
def test_every_panel_says_how_to_read_it_and_has_a_unit_and_a_title_of_its_own(name: str) -> None:
    titles = [panel["title"] for panel in panels(name)]
    assert len(set(titles)) == len(titles)
    for panel in panels(name):
        assert len(panel["description"]) > 40, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert _units(panel), panel["title"]


def _units(panel: dict[str, Any]) -> list[str]:
    defaults = panel["fieldConfig"]["defaults"]
    overrides = panel["fieldConfig"].get("overrides", [])
    told = [change["value"] for each in overrides for change in each["properties"]
            if change["id"] == "unit"]  # fmt: skip
    axis = panel.get("options", {}).get("yAxis", {}).get("unit")
    return [unit for unit in (defaults.get("unit"), axis, *told) if unit]


@both
def test_every_data_source_is_the_chosen_one_and_every_variable_is_there(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text()
    offered = {variable["name"] for variable in dashboard(name)["templating"]["list"]}

    assert set(re.findall(r'"uid": "(\$[^"]+)"', text)) == {"${datasource}"}
    assert offered == {"datasource", "job", "team", "model"}
    asked = [query.expr for query in (*queries(name), *marks(name), *variables(name))]
    used = {found for expr in asked for found in re.findall(r"\$(\w+)", expr)}
    assert used - MACROS <= offered


def test_the_dashboards_lead_to_each_other() -> None:
    for name in names():
        (link,) = dashboard(name)["links"]
        assert link["type"] == "dashboards"
        assert all(link["tags"][0] in dashboard(other)["tags"] for other in names())
        assert link["keepTime"]


def test_every_metric_of_the_gateway_is_on_a_dashboard_or_left_out_for_a_reason() -> None:
    asked = " ".join(query.expr for name in names() for query in (*queries(name), *variables(name)))
    missing = {family.exposed for family in FAMILIES if family.exposed not in asked}

    assert missing == {family.exposed for family in FAMILIES if family.undrawn}


def test_grafana_is_provisioned_with_the_folder_and_the_scrape_interval_that_are_shipped() -> None:
    (source,) = _yaml(GRAFANA / "provisioning/datasources/prometheus.yml")["datasources"]
    (provider,) = _yaml(GRAFANA / "provisioning/dashboards/gateway.yml")["providers"]
    prometheus = _yaml(Path("deploy/prometheus/prometheus.yml"))

    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())
