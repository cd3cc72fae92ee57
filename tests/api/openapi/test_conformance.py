"""What is served is as described: schemathesis over a real socket, in front of the emulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import KEY, make_key, serving, settings_for

__all__ = ["postgres_url"]

ROOT = "root-token-0123456789abcdef"
CONFIGURATION = f"""
hooks = "tests.api.openapi.hooks"
seed = 7
cache.enabled = false
# TRACE is implemented nowhere, so it is a 501 of the server and no 405 of a route.
phases.coverage.unexpected-methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"]

[[operations]]
include-path-regex = "^/v1/(models|key|requests)"
headers = {{ Authorization = "Bearer {KEY}" }}
# A grant may be asked for of a budget that there is not, or for a day that no month has.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "404", "409", "429"]

[[operations]]
include-path-regex = "^/v1/images/"
headers = {{ Authorization = "Bearer {KEY}" }}
# The upstream judges most fields, and in a form all is text: checks of our own stand for these.
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false

[[operations]]
include-path-regex = "^/admin/"
headers = {{ Authorization = "Bearer {ROOT}" }}
# What fits the description may still be refused for what it means: a budget's period without a
# budget, a day that no month has, a name that is taken, a cursor that was never given.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409"]
"""


@pytest.fixture(autouse=True)
def many_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation is asked with a wrong key, from one address."""
    monkeypatch.setattr("gateway.accounts.rules.guess_throttle.MOST_FAILURES", 10_000)


def schemathesis(
    tmp_path: Path, emulator: EmulatorServer, *options: str, state: str | None = None
) -> str:
    """Run over what is served; gives its report. Fails where it finds anything."""
    more = {"admin": {"token": ROOT}, **({"state": {"url": state}} if state else {})}
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    with serving(settings) as gateway:
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run",
             f"{gateway.url}/openapi.json", "--warnings", "off",
             "--suppress-health-check", "all", "--continue-on-failure", *options],
            capture_output=True, text=True, timeout=1800, check=False, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
    report = run.stdout + run.stderr
    assert run.returncode == 0, report[-20_000:]
    return report


def cases_of(report: str) -> int:
    found = re.search(r"(\d+) generated", report)
    assert found, report
    return int(found[1])


PUBLIC, ADMIN = ("--exclude-path-regex", "^/admin/"), ("--include-path-regex", "^/admin/")
BRIEFLY = ("--phases", "coverage,fuzzing", "-n", "3")
BRIEFLIEST = ("--phases", "fuzzing", "-n", "2")
"""The coverage of the admin API is part of the long run."""


def test_what_is_served_to_teams_is_as_described(tmp_path: Path, emulator: EmulatorServer) -> None:
    report = schemathesis(tmp_path, emulator, *PUBLIC, *BRIEFLY)
    assert cases_of(report) > 300
    assert emulator.stats()["billed_calls"] > 5, "edits went all the way"


def test_the_admin_api_is_as_described(tmp_path: Path, emulator: EmulatorServer) -> None:
    report = schemathesis(tmp_path, emulator, *ADMIN, *BRIEFLIEST)
    assert cases_of(report) > 50


@pytest.mark.long
@pytest.mark.parametrize("part", [PUBLIC, ADMIN], ids=["teams", "admin"])
def test_all_of_it_is_as_described_at_length_also_on_postgresql(
    tmp_path: Path, emulator: EmulatorServer, part: tuple[str, ...], postgres_url: str
) -> None:
    state = fresh_schema(postgres_url)
    report = schemathesis(tmp_path, emulator, *part, "-n", "60", state=state)
    assert cases_of(report) > 1_000
