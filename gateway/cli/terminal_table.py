"""Tables on a terminal: no word is broken, numbers stand right, and what doesn't fit is named."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.queries.csv_table import cell_text

Row = Mapping[str, object]

_GAP = 2
_NOTHING: tuple[object, ...] = (None, "", 0, "0", "0.00", (), [])
_STOPPED_OR_UNSURE = ("refused", "refused_today", "paused", "unlimited", "estimated_usd")
_ENDED = ("archived_at", "revoked_at")
_RED, _YELLOW, _DIM = "red", "yellow", "dim"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is shown: its head, and a text for each row."""

    name: str
    head: str
    cells: Sequence[str]
    is_number: bool = False
    is_whole: bool = False

    @property
    def widest(self) -> int:
        return max(map(cell_len, (self.head, *self.cells)))

    @property
    def narrowest(self) -> int:
        """The width at which no word is broken: an id, an amount or a time stays whole."""
        if self.is_whole:
            return self.widest
        return max(cell_len(word) for cell in (self.head, *self.cells) for word in _words(cell))


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that fit, each with its width, and the heads of those that are left out."""

    widths: Sequence[tuple[Column, int]]
    left_out: Sequence[str]


def print_table(names: Sequence[str], rows: Sequence[Row], kept: Collection[str] = ()) -> None:
    """Print the rows as wide as the terminal is."""
    console = Console()
    columns = columns_of(names, rows, kept)
    layout = laid_out(columns, console.width, kept)
    console.print(rendered(layout, columns, rows))
    if layout.left_out:
        text = f"Left out at this width: {', '.join(layout.left_out)}. --csv has every column."
        Console(stderr=True).print(Text(text, style=_DIM))


def columns_of(
    names: Sequence[str], rows: Sequence[Row], kept: Collection[str] = ()
) -> list[Column]:
    """The columns in `kept`, and those in which a row says more than 0, no or nothing."""
    return [_column(name, rows) for name in names if name in kept or _says_something(name, rows)]


def _says_something(name: str, rows: Sequence[Row]) -> bool:
    return any(row.get(name) not in _NOTHING and row.get(name) != {} for row in rows)


def laid_out(columns: Sequence[Column], width: int, kept: Collection[str] = ()) -> Layout:
    """Those in `kept`, and of the others, in order, each that still fits in this width.

    None at all where those in `kept` don't fit.
    """
    narrowest = {column.name: column.narrowest for column in columns}
    shown = {column.name for column in columns if column.name in kept} or {columns[0].name}
    if _sum(narrowest[name] for name in shown) > width:
        return Layout((), ())
    for name in narrowest:
        if _sum(narrowest[each] for each in {*shown, name}) <= width:
            shown.add(name)
    fitting = [column for column in columns if column.name in shown]
    widths = [narrowest[column.name] for column in fitting]
    widest = [column.widest for column in fitting]
    for _ in range(width - _sum(widths)):
        lacking = [most - each for most, each in zip(widest, widths, strict=True)]
        if not any(lacking):
            break
        widths[lacking.index(max(lacking))] += 1
    left_out = [column.head for column in columns if column.name not in shown]
    return Layout(tuple(zip(fitting, widths, strict=True)), left_out)


def _sum(widths: Iterable[int]) -> int:
    """The width of a line of such columns."""
    return sum(width + _GAP for width in widths) - _GAP


def _words(text: str) -> Sequence[str]:
    """The words of a text; a $ is one with the word before it."""
    return re.findall(r"\S+(?: \$)?", text) or [""]


def _column(name: str, rows: Sequence[Row]) -> Column:
    values = [row.get(name) for row in rows]
    texts = [cell_text(value) for value in values]
    head = name.replace("_", " ")
    if name == "usd" or name.endswith("_usd"):
        return Column(name, f"{head[:-3]}$", _same_decimals(texts), is_number=True)
    if name.endswith("_share"):
        return Column(name, head, [f"{value:.1%}" for value in values], is_number=True)
    if name == "at" or name.endswith("_at"):
        return Column(name, f"{head} (UTC)", [_time(text) for text in texts], is_whole=True)
    return Column(name, head, texts, all(map(_is_number_or_none, values)))


def _is_number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _same_decimals(amounts: Sequence[str]) -> list[str]:
    """Amounts with as many decimals as the longest has, so that the points stand in one line."""
    most = max(2, *(len(text.partition(".")[2]) for text in amounts))
    parts = [text.partition(".") for text in amounts]
    return [f"{whole}.{decimals:0<{most}}" if whole else "" for whole, _, decimals in parts]


def _time(text: str) -> str:
    """2026-11-26T01:22:45.070Z to the second."""
    return text[:19].replace("T", " ")


def rendered(layout: Layout, columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """A table of the layout, or a block for each row where no layout fits."""
    return _table(layout, rows) if layout.widths else _blocks(columns, rows)


def _table(layout: Layout, rows: Sequence[Row]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    for column, width in layout.widths:
        head = Text(column.head)
        table.add_column(head, width=width, justify="right" if column.is_number else "left")
    for number, row in enumerate(rows):
        # As texts: what is in square brackets is somebody's name, not a style.
        cells = [
            Text(column.cells[number], _style(column.name, row)) for column, _ in layout.widths
        ]
        table.add_row(*cells, style=_DIM if any(row.get(name) for name in _ENDED) else None)
    return table


def _blocks(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """Row below row, for a terminal that is too narrow for them side by side."""
    blocks = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    blocks.add_column(style="bold", no_wrap=True)
    blocks.add_column(overflow="fold")
    for number, row in enumerate(rows):
        for column in columns:
            if cell := column.cells[number]:
                blocks.add_row(column.head, Text(cell, _style(column.name, row)))
        blocks.add_row("", "")
    return blocks


def _style(name: str, row: Row) -> str:
    """Red: it failed. Yellow: it is stopped, unlimited, refused or not known for certain."""
    value = row.get(name)
    if name == "status" and isinstance(value, int) and value >= 400:
        return _RED if value >= 500 else _YELLOW
    if name == "failed" and value:
        return _RED
    if name in _STOPPED_OR_UNSURE and value not in _NOTHING:
        return _YELLOW
    if name in ("cost_usd", "cost_kind") and row.get("cost_kind") == "estimated":
        return _YELLOW
    return ""
