"""Every question of dashboards and alerts, answered by a real Prometheus after a busy minute."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from gateway.model.money import NANOS
from tests.dashboards.asking import Query, Window, marks, names, queries, variables
from tests.dashboards.minute import Minute, a_minute
from tests.dashboards.organisation import TEAMS
from tests.dashboards.prometheus import TOKEN, needs_prometheus, promtool
from tests.dashboards.test_alerts import ALERTS

pytestmark = needs_prometheus
SECONDS = 32.0
QUIET = {
    "service: Evicted and damaged B",
    "service: Reservations B",
    "service: Recovered failures A",
    "spend: Budgets C",
    "service: Prices to confirm A",
    "service: Ignored cache headers A",
    "service: Upstream retries B",
    "spend: Teams and the period before B",
    "spend: Keys and the period before B",
}
"""What stays at 0: nothing is damaged, left unresolved, in trouble or, in the end, held.

There is one upstream."""
EITHER = {f"service: Hit latency burn {ref}" for ref in "ABC"}
"""Hits may be slow here, or not."""
INSTEAD = {
    'gateway_warnings_total{result="given_up"}': 'gateway_warnings_total{result="passed"}',
    'gateway_mails_total{result="given_up"}': 'gateway_mails_total{result="failed"}',
}
"""What is not there: a webhook and a mail are given up after hours."""

_SELECTOR = re.compile(r"\b(?:gateway[_:]\w[\w:]*|up)(?:\{[^}]*\})?")


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minute]:
    with a_minute(tmp_path_factory.mktemp("minute"), SECONDS) as lived:
        yield lived


@pytest.mark.parametrize(
    "query",
    [query for name in names() for query in (*queries(name), *marks(name))],
    ids=lambda query: query.name,
)
def test_every_query_brings_data(minute: Minute, query: Query) -> None:
    """And not 0 alone, unless that is how it should be."""
    series = minute.window.ask(minute.prometheus, query)
    values = [value for each in series for _, value in each.points if math.isfinite(value)]

    assert values, minute.window.put(query.expr)
    if query.name not in EITHER:
        assert any(values) != (query.name in QUIET), minute.window.put(query.expr)


@pytest.mark.parametrize(
    "variable",
    [variable for name in names() for variable in variables(name)],
    ids=lambda query: query.name,
)
def test_every_variable_offers_something(minute: Minute, variable: Query) -> None:
    offered = minute.window.offered(minute.prometheus, variable)

    assert offered
    if variable.place == "team":
        assert set(offered) == {*TEAMS, "other"}


def test_the_ledger_the_metrics_and_the_upstream_s_bill_are_equal(minute: Minute) -> None:
    billed = minute.emulator.stats()["billed_nanos"]

    assert billed > 0
    assert minute.unbilled() == []
    assert sum(row["cost_nanos"] for row in minute.booked()) == billed
    assert round(minute.counted("gateway_cost_dollars_total") * NANOS) == billed
    assert round(minute.counted("gateway_key_cost_dollars_total") * NANOS) == billed
    assert round(minute.counted("gateway_saved_dollars_total") * NANOS) == minute.saved_nanos() > 0


def test_a_team_that_is_chosen_is_the_only_one_drawn(minute: Minute) -> None:
    chosen = Window(minute.window.start, minute.window.end, {"team": "(research|studio)"})
    by_team = [q for name in names() for q in queries(name) if q.legend == "{{team}}"]
    assert by_team

    for query in by_team:
        teams = {each.labels["team"] for each in chosen.ask(minute.prometheus, query)}
        assert teams <= {"research", "studio"}, query.name
        assert teams, query.name


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_goes_by_series_that_are_there(minute: Minute, alert: Mapping[str, Any]) -> None:
    """Whether it fires is promtool's matter; here are the real names and labels."""
    selectors = _SELECTOR.findall(alert["expr"])
    assert selectors
    for selector in selectors:
        found = minute.prometheus.instant(INSTEAD.get(selector, selector), minute.window.end)
        assert found, selector


@pytest.mark.parametrize(
    "name",
    [name if name == "spend" else pytest.param(name, marks=pytest.mark.long) for name in names()],
)
def test_a_dashboard_s_data_are_drawn_for_the_docs(
    minute: Minute, name: str, tmp_path: Path
) -> None:
    from tests.dashboards.picture import draw_dashboard  # matplotlib: a second to import

    path = tmp_path / f"{name}.png"
    draw_dashboard(name, minute.prometheus, minute.window, path)

    assert 20_000 < path.stat().st_size < 300_000
    with Image.open(path) as drawn:
        assert len(drawn.getcolors(100) or ()) > 20


def test_the_rules_are_evaluated_and_those_that_should_fire_do(minute: Minute) -> None:
    rules = minute.prometheus.rules()

    assert {rule["health"] for rule in rules} == {"ok"}
    fired = {rule["name"] for rule in rules if rule.get("state") in ("firing", "pending")}
    assert {"GatewayBudgetUsedUp", "GatewayUpstreamAccountRefused"} <= fired


def test_promtool_finds_nothing_wrong_with_what_is_exposed(minute: Minute) -> None:
    for gateway in minute.gateways:
        shown = httpx.get(
            f"{gateway.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False
        )
        assert promtool("check", "metrics", given=shown.content) == ""


def test_prometheus_reads_with_the_token_alone(minute: Minute) -> None:
    refused = httpx.get(f"{minute.gateways[0].url}/metrics", trust_env=False)

    assert refused.status_code in (401, 403)
    assert [each["lastError"] for each in minute.prometheus.targets()] == ["", ""]
