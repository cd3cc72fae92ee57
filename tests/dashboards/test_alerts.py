"""The rules: promtool is content, each alert can fire, and the runbook says what to do then."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from gateway.cli import main
from tests.dashboards.prometheus import SHIPPED, needs_prometheus, promtool

RULES = sorted((SHIPPED / "rules").glob("*.yml"))
CASES = Path(__file__).parent / "alerts.yml"
RUNBOOK = Path("deploy/RUNBOOK.md").read_text()
OUTSIDE = {"curl", "df"}
"""Commands of the runbook that are not ours."""


def alerts() -> Iterator[Mapping[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


ALERTS = list(alerts())
by_name = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    promtool("check", "rules", *map(str, RULES))
    promtool("check", "config", "--syntax-only", str(SHIPPED / "prometheus.yml"))


@needs_prometheus
def test_each_alert_fires_when_it_should_and_a_healthy_gateway_is_quiet() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(CASES))


@by_name
def test_each_alert_has_a_case_that_makes_it_fire(alert: Mapping[str, Any]) -> None:
    cases = CASES.read_text()

    assert re.search(rf'ALERTS{{alertname="{alert["alert"]}"|alertname: {alert["alert"]}', cases)


@by_name
def test_each_alert_says_how_bad_it_is_and_where_to_read_on(alert: Mapping[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    said = alert["annotations"]
    assert said["summary"].endswith(".")
    assert said["description"].endswith(".")
    assert said["runbook"] == f"deploy/RUNBOOK.md#{alert['alert'].lower()}"

    section = re.search(rf"^## {alert['alert']}\n(.*?)(?=^## |\Z)", RUNBOOK, re.M | re.S)
    assert section, "the runbook has no such section"
    for part in ("Means", "Look", "Do"):
        assert f"**{part}**" in section[1]


def test_the_runbook_has_no_section_of_an_alert_that_is_not_there() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.M)) == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize(
    "line",
    [
        line
        for block in re.findall(r"```sh\n(.*?)```", RUNBOOK, re.S)
        for line in block.splitlines()
    ],
)
def test_the_runbook_s_commands_exist(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as can be said without running them: the command, and each of its options."""
    monkeypatch.chdir(tmp_path)
    Path("statement.csv").touch()
    program, *words = shlex.split(line, comments=True)
    if program in OUTSIDE:
        return
    assert program == "gateway"
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found, line
        command = found
    with command.make_context(line, words, resilient_parsing=False) as context:
        assert context.params is not None
