"""`gateway check` says what to do about each finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.check import CheckFinding
from gateway.emulator import EmulatorServer

Check = Callable[..., Sequence[str]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulator: EmulatorServer) -> Check:
    """The lines of `gateway check` with these variables."""
    monkeypatch.chdir(tmp_path)
    usual = {
        "GATEWAY_UPSTREAM__BASE_URL": emulator.base_url, "GATEWAY_ADMIN_TOKEN": "t",
        "DEEPSHI_API_KEY": emulator.api_key, "GATEWAY_UPSTREAM__PRICE_CEILING_USD": "1",
    }  # fmt: skip

    def check(**variables: str) -> Sequence[str]:
        return CliRunner().invoke(main, ["check"], env={**usual, **variables}).stdout.splitlines()

    return check


FOUND: dict[str, tuple[dict[str, str], str]] = {
    "there is none at": ({}, "gateway init, or gateway serve, creates it"),
    "PostgreSQL cannot": ({"GATEWAY_STATE__URL": "postgresql://u@127.0.0.1:9/x"}, "[state] url"),
    "file/x can't be written": ({"GATEWAY_CACHE__URL": "disk:file/x"}, "or set [cache] url"),
    "file/y can't be written": (
        {"GATEWAY_SERVER__SPOOL_FOLDER": "file/y"}, "or set [server] spool_folder"
    ),
    "GET /models: ClientConnectorError": (
        {"GATEWAY_UPSTREAM__BASE_URL": "http://127.0.0.1:9"}, "[upstream] base_url: nothing answers"
    ),
    "GET /models answered 401": ({"DEEPSHI_API_KEY": "sk-wrong"}, "[upstream] api_key"),
    "api_key is empty": ({"DEEPSHI_API_KEY": ""}, "set DEEPSHI_API_KEY"),
    "is reachable from elsewhere": ({"GATEWAY_SERVER__HOST": "0.0.0.0"}, "a proxy with TLS"),
    "/admin is off": ({"GATEWAY_ADMIN_TOKEN": ""}, "set GATEWAY_ADMIN_TOKEN"),
    "GATWAY_SERVER__PORT: nothing reads it": ({"GATWAY_SERVER__PORT": "1"}, "correct the name"),
    "no price of deepshi-collage": ({}, "set price_ceiling_usd"),
    "no.toml": ({"GATEWAY_PRICES__FILE": "no.toml"}, "unset [prices] file"),
}  # fmt: skip


@pytest.mark.parametrize("text", FOUND)
def test_a_finding_is_followed_by_what_to_do(check: Check, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    variables, remedy = FOUND[text]
    lines = check(**variables)
    (at,) = (number for number, line in enumerate(lines) if text in line)

    assert lines[at + 1].lstrip().startswith("→ ")
    assert remedy in lines[at + 1]


def test_a_finding_is_a_fault_or_a_note_only_with_a_remedy() -> None:
    assert CheckFinding("state", "fine").mark == ""
    assert CheckFinding("state", "none yet", "make one").mark == "note: "
    assert CheckFinding("state", "broken", "mend it", is_fault=True).mark == "FAULT: "


def test_every_line_that_is_not_fine_says_what_to_do(check: Check) -> None:
    lines = check(GATEWAY_SERVER__HOST="0.0.0.0", DEEPSHI_API_KEY="", GATWAY_SERVER__PORT="1")
    marked = [number for number, line in enumerate(lines) if "note: " in line or "FAULT: " in line]

    assert len(marked) >= 4
    assert all(lines[number + 1].lstrip().startswith("→ ") for number in marked)


def test_limits_of_end_users_without_end_users_are_reported(check: Check) -> None:
    def run(*arguments: str) -> None:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output

    run("init")
    run("teams", "create", "design", "--budget-usd", "5", "--end-user-budget-usd", "1")
    run("keys", "create", "--team", "design", "--name", "app", "--end-user-images-per-day", "3")
    lines = check(GATEWAY_ACCOUNTS__END_USERS="off")
    (at,) = (number for number, line in enumerate(lines) if "limits of end users" in line)

    assert "team design, key design/app" in lines[at]
    assert 'end_users = "hashed"' in lines[at + 1]
    assert not any("limits of end users" in line for line in check())
