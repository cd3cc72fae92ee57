"""`gateway apply FILE`, on a real state; and the example that ships with it."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.accounts.rules.account_settings import fields_of
from gateway.cli import main
from gateway.emulator import EmulatorServer
from tests.support.serving import serving, settings_for

EXAMPLE = Path("config/organisation.example.toml")
FILE = """
[teams.design]
budget_usd = 5
[teams.design.keys.figma]
"""

Apply = Callable[..., Result]


@pytest.fixture
def apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apply:
    """`gateway apply FILE …` on the state of the test's own folder; the file's text is given."""
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{tmp_path / 'gateway.db'}")
    file = tmp_path / "organisation.toml"
    CliRunner().invoke(main, ["init"])

    def run(text: str, *arguments: str) -> Result:
        file.write_text(text)
        return CliRunner().invoke(main, ["apply", str(file), *arguments])

    return run


def teams_in(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "gateway.db") as state:
        sql = "SELECT name FROM accounts WHERE level = 'team' AND ended_ms IS NULL ORDER BY name"
        return [row[0] for row in state.execute(sql)]


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_key_that_was_applied_opens_the_gateway(
    apply: Apply, tmp_path: Path, emulator: EmulatorServer
) -> None:
    made = loaded(apply(FILE, "--json"))["keys"]

    assert [(key["team"], key["name"]) for key in made] == [("design", "figma")]
    with serving(settings_for(tmp_path, emulator)) as gateway:
        assert gateway.edit(key=made[0]["secret"]).status_code == 200


def test_the_plan_is_told_and_the_secret_shown_this_once(apply: Apply) -> None:
    first, second = apply(FILE), apply(FILE)

    assert "+ team design" in first.output
    assert "budget_usd 5.00, budget_period month" in first.output
    assert "+ key design/figma" in first.output
    assert first.output.count("sk-") == 1
    assert (second.exit_code, second.output.count("sk-")) == (0, 0)
    assert "Nothing to change" in second.output


def test_what_changes_is_told_old_and_new(apply: Apply) -> None:
    apply(FILE)
    result = apply(FILE.replace("= 5", "= 7.5"))

    assert "~ team design  budget_usd 5.00 → 7.50" in result.output


@pytest.mark.parametrize("more", [(), ("--json",), ("--prune",)])
def test_a_dry_run_tells_the_plan_prints_no_secret_and_writes_nothing(
    apply: Apply, tmp_path: Path, more: tuple[str, ...]
) -> None:
    result = apply(FILE, "--dry-run", *more)

    assert result.exit_code == 0, result.output
    assert "team design" in result.output
    assert "sk-" not in result.output
    assert teams_in(tmp_path) == []


def test_what_the_file_lacks_ends_only_with_prune_and_is_listed(
    apply: Apply, tmp_path: Path
) -> None:
    apply(FILE + "[teams.old]\nunlimited = true\n[teams.old.keys.a]\n[teams.design.keys.b]\n")
    kept, pruned = apply(FILE), apply(FILE, "--prune")

    assert "Nothing to change" in kept.output
    assert "- team old" in pruned.output
    assert "its keys end: a" in pruned.output
    assert "- key design/b" in pruned.output
    assert teams_in(tmp_path) == ["design"]


def on_a_terminal(folder: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """`gateway apply … --prune` as a person runs it, who types `answer`; gives status, output."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "apply", str(folder / "organisation.toml"),
             "--prune", *arguments],
            stdin=theirs, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_person_is_asked_before_anything_ends(apply: Apply, tmp_path: Path) -> None:
    apply(FILE + "[teams.old]\nunlimited = true\n")
    apply(FILE)  # leaves the file without the team, and the team there
    status, said = on_a_terminal(tmp_path, "n\n")
    assert (status, teams_in(tmp_path)) == (1, ["design", "old"])
    assert "- team old" in said
    assert "Go on?" in said

    assert on_a_terminal(tmp_path, "y\n", "--json")[0] == 0
    assert teams_in(tmp_path) == ["design"]


def test_a_person_who_said_yes_is_not_asked(apply: Apply, tmp_path: Path) -> None:
    apply(FILE + "[teams.old]\nunlimited = true\n")
    apply(FILE)
    status, said = on_a_terminal(tmp_path, "", "--yes")

    assert (status, teams_in(tmp_path)) == (0, ["design"])
    assert "Go on?" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[teams.design]\nbudgt_usd = 5", "[teams.design] A team has no setting 'budgt_usd'. "
                                          "Did you mean 'budget_usd'?"),
        ("[teams.design]\nbudget_usd = -5", "[teams.design] budget_usd takes an amount"),
        ("[teams.design", "not valid TOML"),
        ("[teams.design]", "has no budget"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_applied_is_told_why_and_nothing_is_written(
    apply: Apply, tmp_path: Path, text: str, said: str
) -> None:
    result = apply(text)

    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "gateway.db").exists() or teams_in(tmp_path) == []


def test_who_applied_it_and_why_is_in_the_audit(apply: Apply) -> None:
    apply(FILE, "--reason", "a new quarter")
    rows = json.loads(CliRunner().invoke(main, ["audit", "--json"]).stdout)

    assert {row["reason"] for row in rows} == {"a new quarter"}
    assert all(row["actor"].startswith("apply:") for row in rows)


def test_the_example_can_be_applied_and_names_every_term(apply: Apply) -> None:
    text = EXAMPLE.read_text()
    tables = tomllib.loads(text)

    assert apply(text).exit_code == 0
    assert "Nothing to change" in apply(text, "--prune").output
    assert set(tables["organisation"]) == set(fields_of("organisation"))
    teams = tables["teams"].values()
    assert set().union(*teams) - {"keys"} == set(fields_of("team"))
    assert set(tables["teams"]["design"]["keys"]["website"]) == set(fields_of("key"))
