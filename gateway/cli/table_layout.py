"""How rows are laid out on a terminal: side by side where they fit, else one below another."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text


def laid_out(heads: Sequence[str], lines: Sequence[Sequence[str]], width: int) -> Table:
    """A table of so many columns of text, or a block for each row where it would break words."""
    return _table(heads, lines) if _narrowest([heads, *lines]) <= width else _blocks(heads, lines)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for line in lines:
        # As texts: what is in square brackets is somebody's name, not a style.
        table.add_row(*map(Text, line))
    return table


def _narrowest(lines: Sequence[Sequence[str]]) -> int:
    """The columns that a table needs if it is to break no word: an id or a time stays whole."""
    longest = [
        max(len(word) for cell in column for word in cell.split() or [""])
        for column in zip(*lines, strict=True)
    ]
    return sum(longest) + 2 * (len(longest) - 1)


def _blocks(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Row below row, for a terminal that is too narrow for them side by side."""
    blocks = Table(box=None, show_header=False, pad_edge=False)
    blocks.add_column(style="bold")
    blocks.add_column(overflow="fold")
    for line in lines:
        for head, cell in zip(heads, line, strict=True):
            if cell:
                blocks.add_row(head, Text(cell))
        blocks.add_row("", "")
    return blocks
