"""`gateway ledger export`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TextIO, cast, get_args

import click

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
from gateway.queries.csv_table import CsvStyle
from gateway.queries.ledger_export import FIXED, Form, LedgerExport, Written, write_export
from gateway.settings import Settings


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
    if style and form in FIXED:
        raise click.UsageError(f"--csv-… options do not apply to --format {form}, which is fixed")
    days = _days(settings, period, since, to)
    try:
        asked = LedgerExport(cast(Form, form), days.first_day, days.last_day, style or CsvStyle())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as temporary:
        file = cast(TextIO, temporary)
        with working("reading the ledger"):
            written = read_state(settings, lambda tx: _write(tx, asked, settings, file))
        _deliver(file, output)
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


async def _write(
    tx: Transaction, export: LedgerExport, settings: Settings, file: TextIO
) -> Written:
    """Write from the start of the file: the transaction may be a second attempt."""
    file.seek(0)
    file.truncate()
    return await write_export(tx, export, settings, file)


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
