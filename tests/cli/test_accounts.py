"""The commands that make and end teams and keys, on a real state."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.emulator import EmulatorServer
from tests.support.serving import serving, settings_for

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`gateway ARGUMENTS` on the state of the test's own folder."""
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{tmp_path / 'gateway.db'}")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    invoke("init")
    return invoke


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_key_is_made_and_its_secret_shown_this_once(run: Run, tmp_path: Path) -> None:
    assert run("teams", "create", "design", "--budget-usd", "0.37").exit_code == 0
    made = loaded(run("keys", "create", "--team", "design", "--name", "figma", "--json"))
    listed = run("keys", "list", "--json")

    assert made["id"].startswith("key_")
    assert made["secret"].startswith("sk-")
    assert len(made["secret"]) > 40
    assert [key["id"] for key in loaded(listed)] == [made["id"]]
    assert made["secret"] not in listed.output
    with sqlite3.connect(tmp_path / "gateway.db") as state:
        assert made["secret"] not in "\n".join(state.iterdump())


def test_with_a_key_come_snippets_with_its_secret_and_the_base_url(run: Run) -> None:
    run("teams", "create", "design", "--unlimited")
    made = run("keys", "create", "--team", "design", "--name", "figma", "--models", "our-model")
    rotated = run("keys", "rotate", "design/figma")

    for each in (made, rotated):
        secret = each.stdout.split()[1]
        assert f"Authorization: Bearer {secret}" in each.stderr
        assert f'OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="{secret}")' in each.stderr
        assert "model=our-model" in each.stderr


def test_a_key_that_the_command_made_opens_the_gateway_until_it_is_revoked(
    run: Run, tmp_path: Path, emulator: EmulatorServer
) -> None:
    run("teams", "create", "design", "--unlimited")
    made = loaded(run("keys", "create", "--team", "design", "--name", "figma", "--json"))
    with serving(settings_for(tmp_path, emulator)) as gateway:
        assert gateway.edit(key=made["secret"]).status_code == 200
    assert run("keys", "revoke", "design/figma").exit_code == 0
    with serving(settings_for(tmp_path, emulator)) as gateway:
        refused = gateway.edit(key=made["secret"])

    assert refused.status_code == 401
    assert "revoked" in refused.json()["error"]["message"]


def test_a_team_without_a_budget_needs_to_be_meant(run: Run) -> None:
    refused = run("teams", "create", "design")

    assert refused.exit_code == 2
    assert "unlimited" in refused.output
    assert loaded(run("teams", "list", "--json")) == []


def test_every_limit_is_a_flag_of_its_own_name(run: Run) -> None:
    made = loaded(
        run(
            "teams", "create", "design", "--budget-usd", "0.37", "--budget-period", "day",
            "--paid-images-per-day", "5", "--requests-per-minute", "60", "--max-in-flight", "4",
            "--max-reference-images", "3", "--models", "a,b", "--may-bypass-cache", "false",
            "--owner", "ann", "--cost-centre", "4711", "--json",
        )
    )  # fmt: skip

    assert made["budget_usd"] == "0.37"
    assert made["budget_period"] == "day"
    assert made["paid_images_per_day"] == 5
    assert made["requests_per_minute"] == 60
    assert made["max_in_flight"] == 4
    assert made["max_reference_images"] == 3
    assert made["models"] == ["a", "b"]
    assert made["may_bypass_cache"] is False
    assert (made["owner"], made["cost_centre"]) == ("ann", "4711")


def test_a_limit_is_taken_away_by_none(run: Run) -> None:
    run("teams", "create", "design", "--budget-usd", "1", "--requests-per-minute", "60")
    changed = loaded(run("teams", "update", "design", "--requests-per-minute", "none", "--json"))

    assert changed["requests_per_minute"] is None
    assert changed["budget_usd"] == "1.00"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("teams", "create", "a team", "--unlimited"), 2, "A-Z a-z 0-9"),
        (("keys", "create", "--team", "nobody", "--name", "x"), 1, "nobody"),
        (("keys", "revoke", "key_nothing"), 1, "key_nothing"),
        (("teams", "create", "t", "--budget-usd", "many"), 2, "budget_usd"),
    ],
)
def test_what_can_not_be_done_is_one_clear_line(
    run: Run, arguments: tuple[str, ...], status: int, said: str
) -> None:
    refused = run(*arguments)

    assert refused.exit_code == status
    assert said in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--may-bypass-cache", "perhaps"),
        ("--tag", "campaign"),
        ("--expires-at", "tomorrow"),
        ("--requests-per-minute", "-1"),
    ],
)
def test_a_wrong_value_of_a_new_key_is_one_clear_line(run: Run, option: str, value: str) -> None:
    run("teams", "create", "design", "--unlimited")
    refused = run("keys", "create", "--team", "design", "--name", "figma", option, value)

    assert refused.exit_code == 2
    errors = [line for line in refused.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert refused.output.endswith(errors[0] + "\n")
    assert "Traceback" not in refused.output
    assert loaded(run("keys", "list", "--json")) == []


def test_the_audit_says_who_changed_what_and_why(run: Run) -> None:
    run("teams", "create", "design", "--budget-usd", "1", "--reason", "a new team")
    run("teams", "update", "design", "--budget-usd", "2")
    rows = loaded(run("audit", "--json"))

    assert [row["action"] for row in rows] == ["team.create", "team.update"]
    assert rows[0]["reason"] == "a new team"
    assert rows[1]["old"]["budget_usd"] == "1.00"
    assert rows[1]["new"]["budget_usd"] == "2.00"
    assert rows[0]["actor"].startswith("cli:")

    (changed,) = (line for line in run("audit").output.splitlines() if "team.update" in line)
    assert "budget_usd 1.00 → 2.00" in changed
    assert "None" not in run("audit").output


def test_a_command_names_the_state_and_never_creates_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{tmp_path / 'new' / 'gateway.db'}")
    runner = CliRunner()
    refused = runner.invoke(main, ["teams", "create", "design", "--unlimited"])
    assert refused.exit_code == 1
    assert f"no state at sqlite:{tmp_path}/new/gateway.db" in refused.stderr
    assert "gateway init" in runner.invoke(main, ["check"]).output
    assert list(tmp_path.iterdir()) == []

    assert runner.invoke(main, ["init"]).exit_code == 0
    listed = runner.invoke(main, ["teams", "list", "--json"])
    assert listed.stderr == f"State: sqlite:{tmp_path}/new/gateway.db\n"
    assert loaded(listed) == []


def test_a_listing_that_is_cut_says_so_and_where_it_goes_on(run: Run) -> None:
    for name in ("a", "b", "c"):
        run("teams", "create", name, "--unlimited")
        run("keys", "create", "--team", "a", "--name", name)
        run("tokens", "create", name, "--role", "admin")
    for listing, key in (("teams", "name"), ("keys", "id"), ("tokens", "id")):
        whole = loaded(run(listing, "list", "--json", "--all"))
        first = run(listing, "list", "--json", "--limit", "2")
        assert loaded(first) == whole[:2]
        assert f"--after {whole[1][key]} " in first.stderr
        rest = run(listing, "list", "--json", "--after", whole[1][key])
        assert loaded(rest) == whole[2:]
        assert "More rows" not in rest.stderr
        after_all = run(listing, "list", "--after", whole[2][key])
        assert after_all.stderr.splitlines()[-1] == f"Nothing follows {whole[2][key]}."
    unknown = run("tokens", "list", "--after", "tok_none")
    assert (unknown.exit_code, "no such row is listed" in unknown.stderr) == (2, True)
    changes = loaded(run("audit", "--json", "--all"))
    first = run("audit", "--json", "--limit", "4")
    after = first.stderr.partition("--after ")[2].split()[0]
    assert loaded(first) + loaded(run("audit", "--json", "--after", after)) == changes


def test_rotating_says_until_when_the_old_secret_is_valid(run: Run) -> None:
    run("teams", "create", "design", "--unlimited")
    run("keys", "create", "--team", "design", "--name", "web")
    assert "is valid until 20" in run("keys", "rotate", "design/web").stderr
    assert "no longer valid" in run("keys", "rotate", "design/web", "--grace", "0").stderr


def test_check_says_that_spending_is_paused(run: Run) -> None:
    run("teams", "create", "design", "--unlimited")
    run("pause", "--team", "design")
    assert "spending  note: paused for the team design" in run("check").output
    run("pause")
    assert "spending  note: paused for all teams" in run("check").output


def test_a_user_without_a_name_is_named_by_number(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    run("teams", "create", "design", "--unlimited")
    assert loaded(run("audit", "--json"))[0]["actor"] == "cli:uid 987654"


def test_budgets_are_listed_and_beside_their_accounts(run: Run) -> None:
    run("organisation", "update", "--budget-usd", "100")
    run("teams", "create", "design", "--budget-usd", "50", "--budget-month-day", "15")
    run("teams", "create", "press", "--unlimited")
    weekly = ("--budget-usd", "5", "--budget-period", "week", "--budget-weekday", "Thursday")
    run("keys", "create", "--team", "design", "--name", "figma", *weekly)
    budgets = [{"object": "budget", **each} for each in loaded(run("budgets", "list", "--json"))]
    assert [each["name"] for each in budgets] == ["organisation", "design", "design/figma"]
    assert [each["left_usd"] for each in budgets] == ["100.00", "50.00", "5.00"]
    assert budgets[1]["resets_at"][8:10] == "15"
    own = loaded(run("budgets", "list", "--team", "design", "--json"))
    assert [each["name"] for each in own] == ["design", "design/figma"]
    assert loaded(run("teams", "show", "design", "--json"))["budget"] == budgets[1]
    assert loaded(run("keys", "show", "design/figma", "--json"))["budget_weekday"] == "thursday"
    listed = {each["name"]: each["budget"] for each in loaded(run("teams", "list", "--json"))}
    assert (listed["design"], listed["press"]["limit_usd"]) == (budgets[1], None)
    assert loaded(run("keys", "list", "--json"))[0]["budget"] == budgets[2]
    assert "50.00" in run("teams", "list").stdout
    head, line = run("teams", "list", "--csv").stdout.splitlines()[:2]
    row = dict(zip(head.split(","), line.split(","), strict=True))
    assert (row["left_usd"], row["refused_today"]) == ("50.00", "0")
    cut = run("budgets", "list", "--limit", "1")
    assert "--after organisation" in cut.stderr
    rest = loaded(run("budgets", "list", "--after", "organisation", "--json"))
    assert rest == own


def test_a_budget_is_granted_more_and_the_grant_revoked(run: Run) -> None:
    run("teams", "create", "design", "--budget-usd", "50", "--budget-period", "total")
    day = "2999-12-31"
    said = run("budgets", "grant", "design", "--usd", "20", "--until", day, "--reason", "launch")
    assert f"The budget design has $20.00 more through {day}." in said.stdout
    (grant,) = loaded(run("budgets", "list", "--grants", "--json"))
    assert (grant["usd"], grant["status"], grant["reason"]) == ("20.00", "granted", "launch")
    assert grant["id"] in said.stdout
    assert loaded(run("teams", "show", "design", "--json"))["budget"]["limit_usd"] == "70.00"
    assert "has ended" in run("budgets", "revoke", grant["id"]).stdout
    assert loaded(run("budgets", "list", "--grants", "--json")) == []
    assert len(loaded(run("budgets", "list", "--grants", "--ended", "--json"))) == 1
    assert loaded(run("teams", "show", "design", "--json"))["budget"]["limit_usd"] == "50.00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("design",), "--usd"),
        ((), "BUDGET"),
        (("design", "--request", "grt_1", "--usd", "5"), "BUDGET"),
        (("design", "--usd", "0"), "--usd"),
        (("design", "--usd", "ten"), "--usd"),
        (("design", "--usd", "5", "--until", "soon"), "not a day"),
        (("design", "--usd", "5", "--until", "2020-01-01"), "is past"),
        (("press", "--usd", "5"), "no team 'press'"),
        (("--request", "grt_1"), "no grant or request 'grt_1'"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_in_one_line(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    run("teams", "create", "design", "--budget-usd", "50")
    result = run("budgets", "grant", *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr.splitlines()[-1]
