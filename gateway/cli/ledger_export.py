"""`gateway ledger export`."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Literal, TextIO, cast
from zoneinfo import ZoneInfo

import click

from gateway.cli.ledger import LEDGER_COLUMNS
from gateway.cli.options import DateRange, month_of, range_of, range_options, settings_option
from gateway.cli.output import csv_cell, working
from gateway.cli.state_access import read_state
from gateway.database.database import Transaction
from gateway.ledger.focus_export import COLUMNS, NUMBERS, Issuer, focus_rows
from gateway.ledger.tables.close_month import closings
from gateway.ledger.tables.closed_days import closed_through
from gateway.ledger.tables.reports import every_row
from gateway.queries.models.ledger import LedgerRowView
from gateway.settings import Settings

Form = Literal["csv", "json", "focus"]
Facts = Mapping[str, object]


@click.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "focus"]),
    default="csv",
    help="The ledger's own rows as CSV or as JSON lines, or FOCUS 1.2 as CSV.",
)
@click.option("--period", default=None, help="A whole month, such as 2026-11.")
@range_options
@click.option(
    "--output",
    "output",
    default="-",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Output file (default: standard output).",
)
@settings_option
def export(
    settings: Settings,
    form: str,
    period: str | None,
    since: str | None,
    to: str | None,
    output: Path,
) -> None:
    """Write the ledger rows of a month, or of a range of days.

    The rows are of one moment and in a fixed order: a closed month gives the same file each time.
    Days are in [server] timezone; times are in UTC.
    """
    days = _days(settings, period, since, to)
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
        with working("reading the ledger"):
            closed = read_state(
                settings,
                lambda tx: _write(tx, cast(Form, form), days, settings, cast(TextIO, file)),
            )
        _deliver(cast(TextIO, file), output)
    if not closed:
        click.echo(
            f"{days.first_day} to {days.last_day} is not closed: its rows can still change.",
            err=True,
        )


def _days(settings: Settings, period: str | None, since: str | None, to: str | None) -> DateRange:
    if period is None:
        return range_of(settings, since, to)
    if since or to:
        raise click.UsageError("give --period, or --from and --to")
    return month_of(period)


async def _write(
    tx: Transaction, form: Form, days: DateRange, settings: Settings, file: TextIO
) -> bool:
    """Write the rows, from the start if the transaction is retried; is every day closed?"""
    file.seek(0)
    file.truncate()
    if form == "focus":
        issuer = Issuer(next(iter(settings.every_upstream)), await _zone(tx, days, settings))
        rows: AsyncIterator[Facts] = focus_rows(tx, days.first_day, days.last_day, issuer)
        await _write_csv(rows, COLUMNS, NUMBERS, file)
    elif form == "csv":
        await _write_csv(_ledger(tx, days), LEDGER_COLUMNS, frozenset(), file)
    else:
        async for row in _ledger(tx, days):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return days.last_day <= (await closed_through(tx) or "")


async def _zone(tx: Transaction, days: DateRange, settings: Settings) -> tzinfo:
    """The time zone of these days; a closed month keeps the one that it was closed in."""
    for closing in await closings(tx):
        if closing.first_day <= days.first_day and days.last_day <= closing.last_day:
            return ZoneInfo(closing.timezone)
    return settings.zone


async def _ledger(tx: Transaction, days: DateRange) -> AsyncIterator[Facts]:
    async for row in every_row(tx, days.first_day, days.last_day):
        yield LedgerRowView.of(row).row()


async def _write_csv(
    rows: AsyncIterator[Facts], columns: tuple[str, ...], numbers: frozenset[str], file: TextIO
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    async for row in rows:
        writer.writerow(csv_cell(name, row.get(name), number=name in numbers) for name in columns)


def _deliver(file: TextIO, output: Path) -> None:
    file.seek(0)
    if str(output) == "-":
        shutil.copyfileobj(file, sys.stdout)
        return
    part = output.with_name(f".{output.name}.part")
    try:
        part.unlink(missing_ok=True)
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(opened, "w", encoding="utf-8", newline="") as whole:
            shutil.copyfileobj(file, whole)
        part.replace(output)
    except OSError as error:
        raise click.UsageError(f"{output} can't be written: {error.strerror}") from None
