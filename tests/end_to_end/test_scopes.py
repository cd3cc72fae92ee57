"""Who shares results, and what a team used that another had paid for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.emulator import EmulatorServer
from tests.support.serving import make_key, serving, settings_for

RED, RED_TOO, BLUE = "sk-red-1-aaaa", "sk-red-2-aaaa", "sk-blue-1-aaaa"


@pytest.mark.parametrize(
    ("scope", "outcomes"),
    [
        ("key", ["MISS", "MISS", "MISS"]),
        ("team", ["MISS", "HIT", "MISS"]),
        ("organisation", ["MISS", "HIT", "HIT"]),
    ],
)
def test_results_are_shared_as_far_as_the_scope_says(
    tmp_path: Path, emulator: EmulatorServer, scope: str, outcomes: list[str]
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"scope": scope}})
    make_key(settings, team="red", secret=RED)
    make_key(settings, team="red", secret=RED_TOO, name="second")
    make_key(settings, team="blue", secret=BLUE)
    with serving(settings) as gateway:
        seen = [gateway.edit(key=key).headers["x-gateway-cache"] for key in (RED, RED_TOO, BLUE)]

    assert seen == outcomes
    assert emulator.stats()["billed_calls"] == outcomes.count("MISS")


def test_what_a_team_used_that_another_had_paid_for_is_listed(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"scope": "organisation"}})
    make_key(settings, team="red", secret=RED)
    make_key(settings, team="blue", secret=BLUE)
    with serving(settings) as gateway:
        for key in (RED, RED, BLUE, BLUE):
            gateway.edit(key=key)
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    listed = CliRunner().invoke(main, ["usage", "--by", "paid_by", "--json"])

    assert json.loads(listed.stdout) == [
        {"team": "blue", "paid_by_team": "red", "uses": 2, "saved_usd": "0.02"}
    ]
