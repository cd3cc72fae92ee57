"""Rows in a pipe: the same columns in every row, whatever is in them."""

from __future__ import annotations

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
