"""Reconciling as the command line, `/admin/v1` and the console do it: one statement, two steps.

A statement is read and compared beside the event loop of a server: see `runtime/books_thread.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.rules.statement_lines import Duplicates, RepeatedLines
from gateway.ledger.rules.statement_options import ReadingOptions, WrongOption
from gateway.ledger.rules.statement_period import NotCovered
from gateway.ledger.statements import booking
from gateway.ledger.statements.file import LARGEST_FILE, FileBounds, Unreadable
from gateway.ledger.statements.previews import Inquiry, Preview, preview
from gateway.ledger.statements.reading import BadLines, read_statement
from gateway.ledger.tables.batches import Batch
from gateway.ledger.tables.ledger_calls import has_calls_at
from gateway.ledger.tables.statement_comparison import Source
from gateway.model.suggestions import did_you_mean
from gateway.model.windows import month_days
from gateway.queries.models.statements import (
    DifferenceRowView,
    PreviewView,
    ReconciliationView,
    difference_rows,
    preview_facts,
)
from gateway.settings import Settings, SettingsError

DIFFERENCE_COLUMNS = tuple(DifferenceRowView.model_fields)
StatementRefused = (Unreadable, BadLines, NotCovered, RepeatedLines, booking.NotConfirmed)
"""Why a statement is not compared or not booked; `refusal_text` says it."""
_AS_SET = ReadingOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileOptions:
    """Which statement a file is; None is what the settings, or its lines, say."""

    upstream: str | None = None
    period: str | None = None
    reading: ReadingOptions = _AS_SET
    edge_ms: int | None = None
    duplicates: Duplicates = "refuse"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was shown or confirmed, the batch if one was booked, and how it stands then."""

    shown: Preview
    batch: Batch | None
    after: Preview

    def view(self, most_rows: int | None = None) -> ReconciliationView:
        rows = difference_rows(self.shown)
        left_out = 0 if most_rows is None else max(0, len(rows) - most_rows)
        return ReconciliationView.of(
            {
                **preview_facts(self.shown),
                "applied": self.batch is not None,
                "batch": self.batch and self.batch.id,
                "rows": rows[: len(rows) - left_out],
                "more_rows": left_out,
                "after": PreviewView.of_preview(self.after),
            }
        )


async def read_inquiry(
    settings: Settings,
    database: Database,
    file: Path,
    options: ReconcileOptions,
    bounds: FileBounds = LARGEST_FILE,
) -> Inquiry:
    """Read a statement. Raises WrongOption, and those of StatementRefused."""
    if options.period is not None:
        _check_month(options.period)
    upstream = await _upstream(settings, database, options.upstream)
    reading = options.reading.applied_to(settings.statement_options(upstream))
    statement = read_statement(file, reading, bounds)
    edge_ms = settings.longest_flight_ms if options.edge_ms is None else options.edge_ms
    return Inquiry(
        statement=statement,
        options=reading,
        source=Source(upstream, statement.digest, settings.zone),
        period=options.period,
        edge_ms=edge_ms,
        duplicates=options.duplicates,
    )


def _check_month(period: str) -> None:
    try:
        month_days(period)
    except ValueError:
        raise WrongOption("period", f"{period!r} is not a month such as 2026-11") from None


async def _upstream(settings: Settings, database: Database, given: str | None) -> str:
    """The upstream's name; one that the settings no longer have must be in the ledger."""
    try:
        name, known = settings.upstream_name(given), list(settings.every_upstream)
    except SettingsError as error:
        raise WrongOption("upstream", str(error)) from None
    if name not in known and not await database.read(lambda tx: has_calls_at(tx, name)):
        raise WrongOption("upstream", f"no upstream {name!r}. {did_you_mean(name, known)}")
    return name


async def reconciled(
    database: Database,
    inquiry: Inquiry,
    by: Author,
    *,
    preview_id: str | None = None,
    allow_percent: int | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Reconciled:
    """Preview, or book the preview that is named. Raises those of StatementRefused."""
    if preview_id is None:
        shown = await preview(database, inquiry, by.now_ms)
        return Reconciled(shown, None, shown)
    shown, batch = await booking.confirm(
        database, inquiry, preview_id, by, allow_percent=allow_percent, on_progress=on_progress
    )
    return Reconciled(shown, batch, await preview(database, inquiry, by.now_ms))


def refusal_text(name: str, error: Exception) -> str:
    """Why the file of this name is refused, and what to do."""
    match error:
        case Unreadable():
            return f"{name} {error}."
        case BadLines():
            return f"{name}: {error}\nNothing was booked."
        case NotCovered():
            return f"{name}: {error}. Nothing was booked."
        case RepeatedLines():
            return f"{name}: {error}. Say whether they count: --duplicates once, or add."
        case booking.NotConfirmed():
            return f"{name} is not booked: {error}."
    raise error
