"""The gauges say how things stand, and none of it is asked for on the path of a scrape."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import organisation, teams
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.exposition import nanos, samples_of, scrape, total
from tests.support.serving import (
    Overrides,
    Running,
    author,
    in_state,
    make_key,
    serving,
    settings_for,
)
from tests.support.waiting import let_go, until

SOON = {"metrics": {"survey_seconds": 0.1}}
BUDGET: dict[str, object] = {"budget_usd": "5", "budget_period": "month"}


@pytest.fixture
def settings(tmp_path: Path, emulator: EmulatorServer) -> Settings:
    found = settings_for(tmp_path, emulator, SOON)
    make_key(found, team_terms=BUDGET)
    return found


def shows(gateway: Running, name: str, value: float, **labels: str) -> None:
    """Wait until the metric has that value."""
    until(lambda: [s.value for s in samples_of(scrape(gateway), name, **labels)] == [value], 30.0)


@pytest.mark.parametrize(("most", "shown"), [(1, 1), (0, 0)])
def test_budgets_of_keys_are_shown_up_to_a_number(
    tmp_path: Path, emulator: EmulatorServer, most: int, shown: int
) -> None:
    more: Overrides = {"metrics": {"survey_seconds": 0.1, "max_key_budgets": most}}
    settings = settings_for(tmp_path, emulator, more)
    daily = {"budget_usd": "3", "budget_period": "day"}
    make_key(settings, team_terms=BUDGET, key_terms=daily)
    make_key(settings, team="press", secret="sk-of-the-press-1234567890", key_terms=daily)
    with serving(settings) as gateway:
        assert gateway.edit().status_code == 200
        if shown:
            shows(gateway, "gateway_key_budget_spent_dollars", 0.01, team="design", period="day")
        else:
            shows(gateway, "gateway_budget_spent_dollars", 0.01, team="design")
        limits = samples_of(scrape(gateway), "gateway_key_budget_limit_dollars")
    assert [sample.value for sample in limits] == [3] * shown


def test_budgets_are_shown_with_their_windows(gateway: Running) -> None:
    gateway.edit()
    design = {"level": "team", "team": "design", "period": "month"}
    shows(gateway, "gateway_budget_spent_dollars", 0.01, **design)
    shown = scrape(gateway)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    assert total(shown, "gateway_budget_limit_dollars", **design) == 5
    assert total(shown, "gateway_budget_held_dollars", **design) == 0
    start = total(shown, "gateway_budget_window_start_timestamp_seconds", **design)
    end = total(shown, "gateway_budget_window_end_timestamp_seconds", **design)
    assert start == today.replace(day=1).timestamp()
    assert 28 * 86_400 <= end - start <= 31 * 86_400
    assert start <= time.time() <= end


def test_a_budget_follows_its_limit_and_ends_with_its_team(
    settings: Settings, gateway: Running
) -> None:
    async def bound_all(tx: Any) -> None:
        found = await organisation.show_organisation(tx)
        terms = change_settings(
            found.settings, "organisation", {"budget_usd": "9", "budget_period": "total"}
        )
        await organisation.update_organisation(tx, lambda _: terms, author())

    async def archive(tx: Any) -> None:
        await teams.archive_team(tx, "design", author())

    limit = "gateway_budget_limit_dollars"
    in_state(settings, bound_all)
    shows(gateway, limit, 9, level="organisation", team="", period="total")
    assert not list(
        samples_of(
            scrape(gateway), "gateway_budget_window_end_timestamp_seconds", level="organisation"
        )
    )
    in_state(settings, archive)
    until(lambda: not list(samples_of(scrape(gateway), limit, level="team")), 30.0)


@pytest.mark.parametrize("bound", [{}, {"max_teams": 200}])
def test_budgets_of_teams_beyond_the_bound_of_labels_are_added_up(
    tmp_path: Path, emulator: EmulatorServer, bound: Mapping[str, int]
) -> None:
    settings = settings_for(tmp_path, emulator, {"metrics": {**SOON["metrics"], **bound}})

    async def make(tx: Any) -> None:
        terms = change_settings(
            AccountSettings(), "team", {"budget_usd": "1", "budget_period": "day"}
        )
        for number in range(230):
            await teams.create_team(tx, f"team-{number}", terms, author())

    in_state(settings, make)
    limit, daily = "gateway_budget_limit_dollars", {"level": "team", "period": "day"}
    with serving(settings) as gateway:
        until(lambda: total(scrape(gateway), limit, **daily) == 230)
        text = scrape(gateway)
    named = [s for s in samples_of(text, limit, **daily) if s.labels["team"] != "other"]

    assert len(named) == bound.get("max_teams", 230)
    assert total(text, limit, team="other", **daily) == 230 - len(named)


def test_what_is_in_the_air_is_shown(gateway: Running, emulator: EmulatorServer) -> None:
    emulator.order({"hang": True})
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(gateway.edit) for _ in range(3)]
        until(lambda: total(scrape(gateway), "gateway_followers") == 2)
        shows(gateway, "gateway_reservations_open", 1)
        shows(gateway, "gateway_budget_held_dollars", 0.01, team="design")
        shown = scrape(gateway)
        let_go(emulator)
        assert [answer.result(60).status_code for answer in asked] == [200] * 3

    assert total(shown, "gateway_flights") == 1
    assert total(shown, "gateway_upstream_in_flight") == 1
    assert total(shown, "gateway_reservations_unresolved") == 0
    after = scrape(gateway, after=3)
    assert total(after, "gateway_upstream_in_flight") == total(after, "gateway_followers") == 0
    assert nanos(after, "gateway_saved_dollars_total", cause="coalesced") == 20_000_000
    shows(gateway, "gateway_reservations_open", 0)


def test_the_cache_and_the_disks_are_shown(gateway: Running) -> None:
    for prompt in ("one", "two"):
        gateway.edit(prompt)
    shows(gateway, "gateway_cache_entries", 2)
    shown = scrape(gateway)

    assert total(shown, "gateway_cache_bytes") > 100_000
    assert total(shown, "gateway_cache_max_bytes") == 20e9
    assert 0 <= total(shown, "gateway_cache_oldest_entry_age_seconds") < 3600
    for folder in ("results", "spool", "state"):
        free = total(shown, "gateway_disk_free_bytes", folder=folder)
        assert 0 < free <= total(shown, "gateway_disk_size_bytes", folder=folder)


def test_what_made_room_and_what_was_damaged_is_counted(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    small: Overrides = {**SOON, "cache": {"url": f"disk:{tmp_path / 'cache'}", "max_bytes": "1MB"}}
    settings = settings_for(tmp_path, emulator, small)
    make_key(settings)
    with serving(settings) as gateway:
        for number in range(24):
            gateway.edit(f"edit {number}")
        until(lambda: total(scrape(gateway), "gateway_cache_evictions_total") > 0, 30.0)
        for body in (tmp_path / "cache").glob("??/**/*"):
            if body.is_file():
                body.write_bytes(bytes(body.stat().st_size))
        gateway.edit("edit 23")
        until(lambda: total(scrape(gateway), "gateway_cache_damaged_total") > 0, 30.0)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_s_own_check_has_nothing_to_say(gateway: Running) -> None:
    gateway.edit()
    gateway.edit()
    gateway.edit(images=6)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape(gateway, after=3),
        text=True,
        capture_output=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
