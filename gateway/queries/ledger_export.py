"""Exports of the ledger as files: its own rows, FOCUS 1.2, and chargebacks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from gateway.database.database import Transaction
from gateway.ledger.chargeback import COLUMNS as CHARGEBACK_COLUMNS
from gateway.ledger.chargeback import ChargebackLine, cents_text, chargeback
from gateway.ledger.focus_export import COLUMNS as FOCUS_COLUMNS
from gateway.ledger.focus_export import Issuer, focus_rows
from gateway.ledger.rules.payer import UNATTRIBUTED
from gateway.ledger.tables.close_month import closings
from gateway.ledger.tables.closed_days import closed_through
from gateway.ledger.tables.reports import every_row
from gateway.model.money import usd
from gateway.model.windows import days_before, month_days
from gateway.queries.csv_table import RAW, CsvStyle
from gateway.queries.models.ledger import LEDGER_COLUMNS, LedgerRowView
from gateway.settings import Settings

Form = Literal["csv", "json", "focus", "chargeback"]
FIXED: Sequence[Form] = ("json", "focus")
"""Forms that no style of CSV applies to."""
BATCH_ROWS = 1_000
_Facts = Mapping[str, object]
_Format = Callable[[Iterable[_Facts], bool], str]
"""The text of rows; the first have what begins a file."""


@dataclass(frozen=True, slots=True)
class LedgerExport:
    """The form of an export, and the days that it is of. Raises ValueError for a part of a month,
    of which there is no chargeback.
    """

    form: Form
    first_day: str
    last_day: str
    style: CsvStyle

    def __post_init__(self) -> None:
        first, last = self.first_day, self.last_day
        whole = first == month_days(first[:7])[0] and days_before(last, -1)[8:] == "01"
        if self.form == "chargeback" and not whole:
            raise ValueError(
                f"a chargeback is of whole months, and {first} to {last} is not: give a period, or "
                "the first day of a month and the last day of one"
            )


class Writes(Protocol):
    """A file of text."""

    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Written:
    """Is every day closed, and what is there to say of the rows?"""

    closed: bool
    notes: tuple[str, ...]


async def write_export(
    tx: Transaction, export: LedgerExport, settings: Settings, file: Writes
) -> Written:
    """Write the rows of one moment, in a fixed order."""
    notes: tuple[str, ...] = ()
    first, last = export.first_day, export.last_day
    upstream = next(iter(settings.every_upstream))
    if export.form == "focus":
        issuer = Issuer(upstream, await _zone(tx, export, settings))
        await _write(focus_rows(tx, first, last, issuer), _csv(FOCUS_COLUMNS, RAW), file)
    elif export.form == "chargeback":
        lines = await chargeback(tx, first, last, upstream)
        template = settings.chargeback.line_template
        rows_of = (line.row(template) for line in lines)
        file.write(export.style.text(CHARGEBACK_COLUMNS, rows_of))
        notes = tuple(_notes(lines))
    elif export.form == "csv":
        await _write(_ledger(tx, export), _csv(LEDGER_COLUMNS, export.style), file)
    else:
        await _write(_ledger(tx, export), _json_lines, file)
    return Written(last <= (await closed_through(tx) or ""), notes)


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


async def _zone(tx: Transaction, export: LedgerExport, settings: Settings) -> tzinfo:
    """The time zone of these days; a closed month keeps the one that it was closed in."""
    for closing in await closings(tx):
        if closing.first_day <= export.first_day and export.last_day <= closing.last_day:
            return ZoneInfo(closing.timezone)
    return settings.zone


async def _ledger(tx: Transaction, export: LedgerExport) -> AsyncIterator[_Facts]:
    async for row in every_row(tx, export.first_day, export.last_day):
        yield LedgerRowView.of(row).row()


def _csv(columns: Sequence[str], style: CsvStyle) -> _Format:
    return lambda rows, first: style.text(columns, rows, head=first)


def _json_lines(rows: Iterable[_Facts], _first: bool) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


async def _write(rows: AsyncIterator[_Facts], text_of: _Format, file: Writes) -> None:
    file.write(text_of((), True))
    batch: list[_Facts] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            file.write(text_of(batch, False))
            batch.clear()
    file.write(text_of(batch, False))
