"""Output of the commands: JSON, CSV, tables, progress, confirmation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import compress

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.queries.csv_table import CsvStyle, cell_text


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_rows(
    rows: Sequence[Mapping[str, object]],
    *,
    as_json: bool = False,
    as_csv: CsvStyle | None = None,
    columns: Iterable[str] | None = None,
    empty: str = "No rows.",
) -> None:
    """Rows as JSON, as CSV, or as a table without empty columns."""
    if as_json:
        print_json(list(rows))
        return
    names = list(columns or (rows[0] if rows else ()))
    if as_csv:
        click.echo(as_csv.text(names, rows), nl=False)
        return
    if not rows:
        click.echo(empty)
        return
    cells = [[cell_text(row.get(name)) for name in names] for row in rows]
    filled = [any(column) for column in zip(*cells, strict=True)]
    heads = [name.replace("_", " ") for name in compress(names, filled)]
    lines = [list(compress(line, filled)) for line in cells]
    # Lines in a pipe or a file are never folded.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(laid_out(heads, lines, console.width))


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


def change_text(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """The old and new value of each setting, in one line."""
    was = {name: f"{value_text(value)} → " for name, value in old.items()}
    names = dict.fromkeys((*new, *old))
    return ", ".join(f"{name} {was.get(name, '')}{value_text(new.get(name))}" for name in names)


def value_text(value: object) -> str:
    """A setting's value on one line; `none` where it is not set."""
    if value is None or value == "" or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return " ".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(str(each) for each in value) or "(empty)"
    return str(value)


def print_record(facts: Mapping[str, object], as_json: bool) -> None:
    """One record, as JSON or a line per field."""
    if as_json:
        print_json(facts)
    else:
        print_rows([{"": name, "value": value} for name, value in facts.items()])


def print_secret(facts: Mapping[str, object], secret: str, as_json: bool, owner: str) -> None:
    """A new secret of a key or token, which is never shown again."""
    if as_json:
        print_json({"id": facts["id"], "secret": secret, **facts})
        return
    click.echo(f"{facts['id']}\n\n    {secret}\n")
    click.echo(f"This is the secret of the {owner}. Keep it now: it is shown only once.")


def confirm(question: str, *, yes: bool, show_plan: Callable[[], None] | None = None) -> None:
    """Ask for confirmation on a terminal unless `--yes` is given. Scripts are not asked."""
    if yes or not sys.stdin.isatty():
        return
    if show_plan:
        show_plan()
    click.confirm(question, abort=True, err=True)


def working(activity: str) -> AbstractContextManager[object]:
    """A spinner on a terminal."""
    return Console(stderr=True).status(f"{activity} …")


@contextmanager
def progress_bar(activity: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; gives a function of what is done and the total."""
    from rich import progress

    console = Console(stderr=True)
    columns = (
        progress.TextColumn(activity),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(activity, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
