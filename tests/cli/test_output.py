"""Rows on a terminal: nothing that is copied from it, an id or a time, is broken."""

from __future__ import annotations

import io

from rich.console import Console

from gateway.cli.output import laid_out

HEADS = ["at", "subject", "change"]
AT, SUBJECT = "2026-11-26T01:22:45.070Z", "key:key_6zc2rnkk3bk7"
LINES = [[AT, SUBJECT, "max_reference_images none → 5"], [AT, "organisation", ""]]


def shown(width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(laid_out(HEADS, LINES, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_rows_that_fit_stand_side_by_side() -> None:
    head, first, second = shown(100)

    assert head.split() == HEADS
    assert first.split(maxsplit=2) == LINES[0]
    assert second.split() == [AT, "organisation"]


def test_where_a_word_would_be_broken_each_row_is_a_block_of_what_it_says() -> None:
    lines = shown(50)

    assert [line.split(maxsplit=1) for line in lines if line] == [
        *([head, cell] for head, cell in zip(HEADS, LINES[0], strict=True)),
        ["at", AT], ["subject", "organisation"],
    ]  # fmt: skip
