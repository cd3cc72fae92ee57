"""What every command needs: the settings, the state, and a way to print."""

from __future__ import annotations

import asyncio
import csv
import getpass
import io
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from gateway.accounts.rules.errors import AccountError
from gateway.accounts.tables.audit import Author
from gateway.cli.table_layout import laid_out
from gateway.database.clock import now_ms
from gateway.database.database import Database, Operation, StateUnavailable
from gateway.database.migrate import SchemaTooNew, migrate
from gateway.runtime.engines import open_database
from gateway.settings import Settings, SettingsError, load

Result = TypeVar("Result")
Command = TypeVar("Command", bound=Callable[..., Any])

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")
"""What makes a sheet take a cell for a formula; in full width, one set to Japanese."""


def config_option(command: Command) -> Command:
    """`--config F`, on every command."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The settings file (default: GATEWAY_CONFIG, or config/gateway.toml if it is there).",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`, on every listing."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def reason_option(command: Command) -> Command:
    """`--reason`, on every change."""
    return click.option("--reason", default="", help="Why, for the audit.")(command)


def settings_of(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings, or a clear end."""
    try:
        return load(config, overrides=overrides)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def author(reason: str = "", at_ms: int | None = None) -> Author:
    """Whoever runs this command, now by this machine's clock unless another time is given."""
    return Author(f"cli:{getpass.getuser()}", now_ms() if at_ms is None else at_ms, reason)


def in_state(
    config: Path | None,
    operation: Operation[Result],
    *,
    read: bool = False,
) -> Result:
    """Run one operation on the state that the settings name, migrated first."""
    return in_database(settings_of(config), operation, read=read)


def in_database(settings: Settings, operation: Operation[Result], *, read: bool = False) -> Result:
    """Run one operation on the state, migrated first, and say clearly what went wrong."""
    return with_database(
        settings, lambda database: database.read(operation) if read else database.write(operation)
    )


def clock_of(settings: Settings) -> int:
    """The time by the state's clock, which all its processes go by, in unix milliseconds."""
    return with_database(settings, lambda database: database.clock_ms())


def with_database(
    settings: Settings,
    ask: Callable[[Database], Awaitable[Result]],
    *,
    migrated: bool = True,
) -> Result:
    """Ask the state's database something, and say clearly what went wrong."""

    async def run() -> Result:
        database = open_database(settings.state.url)
        try:
            if migrated:
                await migrate(database)
            return await ask(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except (AccountError, SchemaTooNew, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except StateUnavailable as error:
        raise click.ClickException(f"the state can't be used: {error}") from None


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_rows(
    rows: Sequence[Mapping[str, object]],
    *,
    as_json: bool = False,
    as_csv: bool = False,
    columns: Iterable[str] | None = None,
    empty: str = "Nothing there.",
) -> None:
    """Rows as JSON, as CSV, or as a table of the columns that say something."""
    if as_json:
        print_json(list(rows))
        return
    names = list(columns or (rows[0] if rows else ()))
    if as_csv:
        click.echo(csv_text(names, rows), nl=False)
        return
    if not rows:
        click.echo(empty)
        return
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    saying = [
        any(column) for column in zip(*cells, strict=True)
    ]  # room for those that say something
    heads = [name.replace("_", " ") for name in compress(names, saying)]
    lines = [list(compress(line, saying)) for line in cells]
    # What goes into a pipe or a file is folded nowhere.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(laid_out(heads, lines, console.width))


def csv_text(names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as CSV that a sheet takes for data: no text that somebody chose is a formula in it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(name, row.get(name)) for name in names} for row in rows)
    return out.getvalue()


def csv_cell(name: str, value: object, *, number: bool = False) -> str:
    """A cell; in a leading apostrophe a sheet sees a text. Numbers and amounts are our own."""
    cell = _cell(value)
    ours = number or isinstance(value, (int, float)) or name.endswith("_usd")
    return f"'{cell}" if cell.startswith(_FORMULA) and not ours else cell


def _cell(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value)
    return str(value)


def told_change(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """What became of each term, in one line."""
    was = {name: f"{term_text(value)} → " for name, value in old.items()}
    names = dict.fromkeys((*new, *old))
    return ", ".join(f"{name} {was.get(name, '')}{term_text(new.get(name))}" for name in names)


def term_text(value: object) -> str:
    """A term's value on one line; what is not there is `none`, as a file writes it."""
    if value is None or value == "" or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return " ".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(str(each) for each in value) or "(empty)"
    return str(value)


def moment(text: str | None) -> int:
    """`2026-11-01` or an ISO time as unix milliseconds; 0 where none is given."""
    if not text:
        return 0
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date; write 2026-11-01") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
