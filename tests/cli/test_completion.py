"""Completion of commands and of names, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from gateway.cli import main

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """The completions of a line, whose last word may be empty, beside a state of two teams."""
    monkeypatch.chdir(tmp_path)
    for line in ("init", "teams create design --unlimited", "teams create docs --unlimited",
                 "keys create --team design --name figma"):  # fmt: skip
        assert CliRunner().invoke(main, line.split()).exit_code == 0

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        shell = ShellComplete(main, {}, "gateway", "_GATEWAY_COMPLETE")
        return [item.value for item in shell.get_completions(words[:-1], words[-1])]

    return complete


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("te", ["teams"]),
        ("teams cr", ["create"]),
        ("teams update d", ["design", "docs"]),
        ("keys list --team de", ["design"]),
        ("keys revoke design/", ["design/figma"]),
        ("usage --by team,cost", ["team,cost_centre", "team,cost_kind"]),
        ("cache purge --model gpt-image-1-", ["gpt-image-1-mini"]),
        ("tokens create ci --role team:", ["team:design", "team:docs"]),
        ("prices show --upstream ", ["deepshi"]),
        ("audit --subject team:do", ["team:docs"]),
    ],
)
def test_names_are_completed(complete: Complete, line: str, expected: list[str]) -> None:
    assert complete(line) == expected


def test_without_a_state_or_with_wrong_settings_no_name_is_completed_and_none_created(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "var")

    assert complete("teams update ") == []
    assert not (tmp_path / "var").exists()
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "none")
    assert complete("teams update ") == []


SHELLS = {
    "bash": "source <(gateway completion bash); COMP_WORDS=(gateway teams update d); COMP_CWORD=3; "
    '_gateway_completion gateway; echo "${COMPREPLY[@]}"',
    "zsh": "autoload -U compinit; compinit -u -D; source <(gateway completion zsh); "
    "compadd() { print -l ${(P)@[-1]}; }; compdef() { :; }; "
    "words=(gateway teams update d); CURRENT=4; _gateway_completion",
    "fish": "gateway completion fish | source; complete -C 'gateway teams update d'",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_completes_in_its_shell(complete: Complete, shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    found = Path(sys.executable).parent
    done = subprocess.run(
        [shell, "-c", SHELLS[shell]], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{found}:{os.environ['PATH']}", "HOME": str(tmp_path)},
    )  # fmt: skip

    assert {"design", "docs"} <= {*done.stdout.split()}, done
