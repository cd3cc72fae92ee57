"""Rows on a terminal: words and numbers stay whole at any width, and what is left out is named."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gateway.cli.terminal_table import Row, columns_of, laid_out, rendered

AT, SUBJECT = "2026-11-26T01:22:45.070Z", "key:key_6zc2rnkk3bk7"
ROWS: list[Row] = [
    {"at": AT, "subject": SUBJECT, "change": "max_reference_images none → 5", "cost_usd": "0.0125"},
    {"at": AT, "subject": "organisation", "change": "", "cost_usd": "1250.00"},
]


def shown(rows: list[Row], width: int, kept: tuple[str, ...] = (), *, colour: bool = False) -> str:
    out = io.StringIO()
    columns = columns_of(list(rows[0]), rows, kept)
    console = Console(file=out, width=width, color_system="standard" if colour else None)
    console.print(rendered(laid_out(columns, width, kept), columns, rows))
    return out.getvalue()


def test_rows_that_fit_stand_side_by_side_with_amounts_point_under_point() -> None:
    head, first, second = (line.rstrip() for line in shown(ROWS, 120).splitlines())

    assert head == f"{'at (UTC)':<21}{'subject':<22}{'change':<29}     cost $"
    assert first.endswith("max_reference_images none → 5     0.0125")
    assert second.startswith("2026-11-26 01:22:45  organisation ")
    assert second.endswith("  1250.0000")


@pytest.mark.parametrize("width", range(30, 121, 3))
def test_no_word_is_broken_at_any_width(width: int) -> None:
    text = shown(ROWS, width, ("subject", "cost_usd"))

    assert {SUBJECT, "organisation", "0.0125", "1250.0000"} <= {*text.split()}
    assert max(map(len, text.splitlines())) <= width


def test_the_last_columns_are_left_out_first_and_those_kept_never() -> None:
    columns = columns_of(list(ROWS[0]), ROWS, ("at", "cost_usd"))

    wide, narrow = (laid_out(columns, width, ("at", "cost_usd")) for width in (90, 55))

    assert wide.left_out == []
    assert narrow.left_out == ["change"]
    assert [column.name for column, _ in narrow.widths] == ["at", "subject", "cost_usd"]


def test_columns_in_which_no_row_says_anything_are_not_shown() -> None:
    rows: list[Row] = [{"team": "red", "hits": 0, "paused": False, "saved_usd": "0.00", "tags": {}}]

    assert [column.name for column in columns_of(list(rows[0]), rows)] == ["team"]
    assert len(columns_of(list(rows[0]), rows, ("hits",))) == 2


def test_whole_numbers_stand_right_and_flags_left() -> None:
    rows: list[Row] = [{"calls": 7, "paused": True}, {"calls": 1234, "paused": False}]

    assert [line.rstrip() for line in shown(rows, 80).splitlines()] == [
        "calls  paused", "    7  yes", " 1234  no",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"status": 502}, "31"),  # red
        ({"status": 429}, "33"),  # yellow
        ({"status": 200}, ""),
        ({"cost_usd": "0.04", "cost_kind": "estimated"}, "33"),
        ({"paused": True}, "33"),
        ({"name": "old", "archived_at": AT}, "2"),  # dim
    ],
)
def test_colour_says_failed_uncertain_or_ended(row: Row, code: str) -> None:
    line = shown([row], 80, colour=True).splitlines()[1]

    assert (f"\x1b[{code}m" in line) if code else ("\x1b" not in line)


def test_names_in_square_brackets_are_no_styles() -> None:
    assert "[red]design[/red]" in shown([{"team": "[red]design[/red]"}], 80)
