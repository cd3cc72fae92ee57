"""Rows in a pipe: the same columns in every row, whatever is in them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.output import print_rows


def test_rows_in_a_pipe_are_lines_of_cells_between_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"team": "red", "owner": None, "budget_usd": "0.0125", "models": ["a", "b"]},
        {"team": "blue", "owner": "J.\tDoe\nsenior", "budget_usd": "5.00", "models": []},
    ]

    print_rows(rows, columns=("team", "owner", "budget_usd", "models"), title="All teams")

    assert capsys.readouterr() == (
        "team\towner\tbudget_usd\tmodels\nred\t\t0.0125\ta, b\nblue\tJ. Doe senior\t5.00\t\n",
        "All teams\n",
    )


def test_an_empty_listing_in_a_pipe_is_its_head_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], columns=("team", "owner"), empty="No team yet.")

    assert capsys.readouterr() == ("team\towner\n", "No team yet.\n")


def test_an_error_on_a_terminal_breaks_between_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", "teams", "list"]
    environment = {**os.environ, "GATEWAY_STATE__URL": f"sqlite:{tmp_path}/none.db"}
    whole = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    ours, theirs = pty.openpty()
    subprocess.run(command, env={**environment, "COLUMNS": "60"}, stderr=theirs, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)

    assert len(whole.stderr.splitlines()) == 1
    assert re.sub(r"\s+", " ", shown) == re.sub(r"\s+", " ", whole.stderr)
    lines = [line for line in shown.splitlines() if str(tmp_path) not in line]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
