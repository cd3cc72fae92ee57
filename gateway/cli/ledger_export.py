"""`gateway ledger export`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Literal, TextIO, cast, get_args
from zoneinfo import ZoneInfo

import click

from gateway.cli.ledger import LEDGER_COLUMNS
from gateway.cli.options import (
    DateRange,
    csv_style_options,
    month_of,
    range_of,
    range_options,
    settings_option,
)
from gateway.cli.output import working
from gateway.cli.state_access import read_state
from gateway.database.database import Transaction
from gateway.ledger.chargeback import COLUMNS as CHARGEBACK_COLUMNS
from gateway.ledger.chargeback import ChargebackLine, cents_text, chargeback
from gateway.ledger.focus_export import COLUMNS, Issuer, focus_rows
from gateway.ledger.rules.payer import UNATTRIBUTED
from gateway.ledger.tables.close_month import closings
from gateway.ledger.tables.closed_days import closed_through
from gateway.ledger.tables.reports import every_row
from gateway.model.money import usd
from gateway.model.windows import days_before, month_days
from gateway.queries.csv_table import RAW, CsvStyle
from gateway.queries.models.ledger import LedgerRowView
from gateway.settings import Settings

Form = Literal["csv", "json", "focus", "chargeback"]
Facts = Mapping[str, object]
BATCH_ROWS = 1_000


@click.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(get_args(Form))),
    default="csv",
    help="The ledger's own rows as CSV or as JSON lines; FOCUS 1.2 as CSV; or as CSV what each "
    "cost centre is charged for a month, in cents that add up to the invoices ([chargeback]).",
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
@csv_style_options
@settings_option
def export(
    settings: Settings,
    form: str,
    period: str | None,
    since: str | None,
    to: str | None,
    output: Path,
    style: CsvStyle | None,
) -> None:
    """Write the ledger rows of a month, or of a range of days.

    The rows are of one moment and in a fixed order: a closed month gives the same file each time.
    Days are in [server] timezone; times are in UTC.
    """
    if style and form in ("json", "focus"):
        raise click.UsageError(f"--csv-… options do not apply to --format {form}, which is fixed")
    days = _days(settings, period, since, to)
    if form == "chargeback":
        _check_whole_months(days)
    export_of = _Export(cast(Form, form), days, settings, style or CsvStyle())
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
        with working("reading the ledger"):
            written = read_state(
                settings,
                lambda tx: _write(tx, export_of, cast(TextIO, file)),
            )
        _deliver(cast(TextIO, file), output)
    for note in written.notes:
        click.echo(note, err=True)
    if not written.closed:
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


def _check_whole_months(days: DateRange) -> None:
    """Raise UsageError for a part of a month: no invoice is of one."""
    first, last = days.first_day, days.last_day
    if first != month_days(first[:7])[0] or days_before(last, -1)[8:] != "01":
        raise click.UsageError(
            f"a chargeback is of whole months, and {first} to {last} is not: give --period, or "
            "--from the first day of a month --to the last day of one"
        )


@dataclass(frozen=True, slots=True)
class _Export:
    form: Form
    days: DateRange
    settings: Settings
    style: CsvStyle


@dataclass(frozen=True, slots=True)
class _Written:
    """Is every day closed, and what is there to say of the rows?"""

    closed: bool
    notes: tuple[str, ...]


async def _write(tx: Transaction, export: _Export, file: TextIO) -> _Written:
    """Write the rows, from the start if the transaction is retried."""
    file.seek(0)
    file.truncate()
    notes: tuple[str, ...] = ()
    days, settings = export.days, export.settings
    upstream = next(iter(settings.every_upstream))
    if export.form == "focus":
        issuer = Issuer(upstream, await _zone(tx, days, settings))
        rows: AsyncIterator[Facts] = focus_rows(tx, days.first_day, days.last_day, issuer)
        await _write_csv(rows, COLUMNS, RAW, file)
    elif export.form == "chargeback":
        lines = await chargeback(tx, days.first_day, days.last_day, upstream)
        template = settings.chargeback.line_template
        rows_of = (line.row(template) for line in lines)
        file.write(export.style.text(CHARGEBACK_COLUMNS, rows_of))
        notes = tuple(_notes(lines))
    elif export.form == "csv":
        await _write_csv(_ledger(tx, days), LEDGER_COLUMNS, export.style, file)
    else:
        async for row in _ledger(tx, days):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return _Written(days.last_day <= (await closed_through(tx) or ""), notes)


def _notes(lines: Sequence[ChargebackLine]) -> Iterator[str]:
    """The teams without a cost centre, and the sum of each month."""
    if teams := sorted({line.payer.team for line in lines} - {"", UNATTRIBUTED}):
        yield (
            f"Teams without a cost centre: {', '.join(teams)}. Give them one for later calls: "
            f"gateway teams update {teams[0]} --cost-centre NAME"
        )
    for month in dict.fromkeys(line.month for line in lines):
        of_month = [line for line in lines if line.month == month]
        cents = cents_text(sum(line.cents for line in of_month))
        exact = usd(sum(line.exact_nanos for line in of_month))
        yield f"{month}: ${cents} in lines of cents, of exactly ${exact} in the ledger."


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
    rows: AsyncIterator[Facts], columns: tuple[str, ...], style: CsvStyle, file: TextIO
) -> None:
    file.write(style.text(columns, ()))
    batch: list[Facts] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            file.write(style.text(columns, batch, head=False))
            batch.clear()
    file.write(style.text(columns, batch, head=False))


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
