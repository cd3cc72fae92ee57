"""Every question of dashboards and alerts, answered by a real Prometheus after a busy minute."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest

from gateway.rules.money import NANOS
from tests.dashboards.asking import Query, marks, queries, variables
from tests.dashboards.minute import Minute, a_minute
from tests.dashboards.organisation import TEAMS
from tests.dashboards.prometheus import needs_prometheus

pytestmark = needs_prometheus
SECONDS = 32.0

_SELECTOR = re.compile(r"\b(?:gateway[_:]\w[\w:]*|up)(?:\{[^}]*\})?")


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minute]:
    with a_minute(tmp_path_factory.mktemp("minute"), SECONDS) as lived:
        yield lived


@pytest.mark.parametrize("query", [*queries(), *marks()], ids=lambda query: query.name)
def test_every_query_brings_data(minute: Minute, query: Query) -> None:
    series = minute.window.ask(minute.prometheus, query)
    values = [value for each in series for _, value in each.points]

    assert any(math.isfinite(value) for value in values), minute.window.put(query.expr)


@pytest.mark.parametrize("variable", list(variables()), ids=lambda query: query.name)
def test_every_variable_offers_something(minute: Minute, variable: Query) -> None:
    offered = minute.window.offered(minute.prometheus, variable)

    assert offered
    if variable.place == "team":
        assert set(offered) == {*TEAMS, "other"}


def test_the_ledger_the_metrics_and_the_upstream_s_bill_are_equal(minute: Minute) -> None:
    billed = minute.emulator.stats()["billed_nanos"]

    assert billed > 0
    assert minute.booked_nanos() == billed
    assert round(minute.counted("gateway_cost_dollars_total") * NANOS) == billed
    assert round(minute.counted("gateway_key_cost_dollars_total") * NANOS) == billed
    assert round(minute.counted("gateway_saved_dollars_total") * NANOS) == minute.saved_nanos() > 0
