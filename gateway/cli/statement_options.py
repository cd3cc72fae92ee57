"""The upstream's statement as it is named on the command line: read, and what it covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import click

from gateway.cli.options import month_of
from gateway.cli.output import working
from gateway.ledger import statement_file as file_of
from gateway.ledger.rules.statement_lines import (
    BadLine,
    Columns,
    Duplicates,
    RepeatedLines,
    StatementLine,
    StatementTotals,
    parse_line,
    sum_up,
)
from gateway.ledger.rules.statement_matching import BilledPeriod
from gateway.model.windows import day_of, days_before, start_ms
from gateway.settings import Settings

MOST_LINES = 1_000_000
SHOWN_FAULTS = 10


def columns_of(settings: Settings, mapped: Sequence[str]) -> Columns:
    """What the statement calls its columns: by the settings, and NAME=COLUMN over them."""
    names = [column.name for column in fields(Columns)]
    given: dict[str, str] = {}
    for each in mapped:
        name, _, column = each.partition("=")
        if name not in names or not column:
            raise click.BadParameter(
                f"{each!r} is no NAME=COLUMN with a name of {', '.join(names)}",
                param_hint="--column",
            )
        given[name] = column
    return replace(settings.statement.columns, **given)


def gathered(
    file: Path, columns: Columns, settings: Settings, duplicates: Duplicates
) -> tuple[str, StatementTotals]:
    """The file's digest and what it says. Raises ClickException for whatever is wrong with it."""
    try:
        return file_of.digest_of(file), _gathered(file, columns, settings, duplicates)
    except file_of.Unreadable as error:
        raise click.ClickException(f"{file} {error}.") from None


def _gathered(
    file: Path, columns: Columns, settings: Settings, duplicates: Duplicates
) -> StatementTotals:
    lines: list[StatementLine] = []
    faults: list[str] = []
    with working(f"reading {file}"):
        for number, found in file_of.read(file, (columns.time, columns.cost)):
            try:
                lines.append(parse_line(number, found, columns, settings.statement.zone))
            except BadLine as error:
                faults.append(str(error))
            if len(lines) + len(faults) > MOST_LINES:
                raise click.ClickException(
                    f"{file} has more than {MOST_LINES:,} lines: reconcile it in parts"
                )
    if faults:
        shown = [f"{file}: {fault}" for fault in faults[:SHOWN_FAULTS]]
        more = len(faults) - len(shown)
        shown += [f"{more} more lines can't be read"] if more else []
        raise click.ClickException("\n".join([*shown, "Nothing was booked."]))
    try:
        return sum_up(lines, duplicates)
    except RepeatedLines as error:
        raise click.ClickException(
            f"{file}: {error}. Say whether they count: --duplicates once, or add."
        ) from None


def span_of(
    settings: Settings, statement: StatementTotals, period: str | None, now_ms: int, edge_ms: int
) -> tuple[BilledPeriod, tuple[str, str]]:
    """What the statement covers, and the days of our books that are compared with it."""
    first_ms, last_ms = statement.first_ms, statement.last_ms
    if period is None:
        if first_ms is None or last_ms is None:
            raise click.ClickException(
                "the statement has no lines: say which month it is of, --period 2026-11"
            )
        days = day_of(first_ms, settings.zone), day_of(last_ms, settings.zone)
        return BilledPeriod(first_ms, last_ms + 1, edge_ms), days
    month, zone = month_of(period), settings.statement.zone
    days = month.first_day, month.last_day
    from_ms, until_ms = start_ms(days[0], zone), start_ms(days_before(days[1], -1), zone)
    if until_ms > now_ms:  # it goes on: what is there is what was billed until the last line
        until_ms = (last_ms or from_ms) + 1
    return BilledPeriod(from_ms, until_ms, edge_ms), days
