"""Output of the commands: JSON, CSV, tables, progress, confirmation."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from gateway.queries.csv_table import CsvStyle, cell_text


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_rows(
    rows: Sequence[Mapping[str, object]],
    *,
    as_json: bool = False,
    as_csv: CsvStyle | None = None,
    columns: Iterable[str] | None = None,
    kept: Collection[str] = (),
    title: str = "",
    empty: str = "No rows.",
) -> None:
    """Rows as JSON, as CSV, as a table on a terminal, else as lines of cells between tabs.

    A terminal that is too narrow leaves out the last columns, those in `kept` last of all. Lines
    in a pipe have every column in every row; title and `empty` go to stderr there.
    """
    if as_json:
        print_json(list(rows))
        return
    names = list(columns or (rows[0] if rows else ()))
    if as_csv:
        click.echo(as_csv.text(names, rows), nl=False)
        return
    is_terminal = sys.stdout.isatty()
    if title:
        click.echo(title, err=not is_terminal)
    if not is_terminal and names:
        click.echo("\n".join(_with_tabs(line) for line in [names, *_cells(names, rows)]))
    if not rows:
        click.echo(empty, err=not is_terminal)
    elif is_terminal:
        from gateway.cli.terminal_table import print_table

        print_table(names, rows, kept)


def _cells(names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Iterator[list[str]]:
    return ([cell_text(row.get(name)) for name in names] for row in rows)


def _with_tabs(cells: Iterable[str]) -> str:
    """One line of cells; a tab or a line break in one is a space."""
    return "\t".join(re.sub(r"\s", " ", cell) for cell in cells)


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
        print_rows([{"field": name, "value": value} for name, value in facts.items()])


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


@contextmanager
def working(activity: str) -> Iterator[None]:
    """A spinner on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{activity} …"):
        yield


@contextmanager
def progress_bar(activity: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; gives a function of what is done and the total."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn(activity),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(activity, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
