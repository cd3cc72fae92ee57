"""The books: reconcile a statement, close a month, take a batch back, export.

Each is several transactions, or seconds of work, so it runs beside the event loop.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from gateway.api.admin.growing_file import Abandoned, GrowingFile
from gateway.api.admin.inputs import Body, ClosingBody, ExportQuery, Query, ReconcileQuery, UndoBody
from gateway.api.admin.ledger import days_of
from gateway.api.admin.request_input import AdminRequest
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.ledger import books
from gateway.ledger.rules.statement_options import WrongOption
from gateway.ledger.statements.booking import NotConfirmed
from gateway.ledger.statements.file import FileBounds
from gateway.ledger.tables.close_month import NotClosable
from gateway.ledger.tables.closed_days import closed_through
from gateway.ledger.tables.undo import NotUndoable, UnknownBatch, plan_undo
from gateway.model.errors import Refusal
from gateway.model.windows import month_days
from gateway.queries.ledger_export import FIXED, LedgerExport, write_export
from gateway.queries.models.ledger import ClosedMonthView, UndoView
from gateway.queries.models.read_model import ReadModel
from gateway.queries.models.statements import ReconciliationView
from gateway.queries.reconciliation import (
    DIFFERENCE_COLUMNS,
    StatementRefused,
    read_inquiry,
    reconciled,
    refusal_text,
)
from gateway.runtime.books_thread import BooksThread
from gateway.server.exchange import Exchange
from gateway.settings import Settings

BOUNDS = FileBounds(file_bytes=32 * 2**20, json_bytes=8 * 2**20, lines=100_000)
"""Of a statement over HTTP; the command line reads larger ones."""
MOST_ROWS = 1_000
"""The most rows of a comparison in JSON; CSV has all."""
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_MEDIA_TYPES = {"json": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that is sent as it grows."""

    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes, None]

    async def send(self, exchange: Exchange) -> None:
        """Raises what the writing raises, before the first piece is sent or later."""
        async with aclosing(self.pieces):
            first = await anext(self.pieces, b"")
            await exchange.start(200, self.headers)
            await exchange.send(first)
            async for piece in self.pieces:
                await exchange.send(piece)
            await exchange.finish(b"")


class BooksHandlers:
    """Handles what changes or exports the books. Raises Refusal, StateUnavailable."""

    def __init__(self, settings: Settings, database: Database, thread: BooksThread) -> None:
        self._settings, self._database, self._thread = settings, database, thread

    async def close(self) -> None:
        """Cancel what runs; before the database is closed."""
        await self._thread.close()

    async def reconcile(self, request: AdminRequest[ReconcileQuery, Body]) -> ReconciliationView:
        query, settings = request.query, self._settings

        async def work(database: Database) -> ReconciliationView:
            with tempfile.NamedTemporaryFile() as file:
                file.write(request.upload)
                file.flush()
                inquiry = await read_inquiry(
                    settings, database, Path(file.name), query.options, BOUNDS
                )
            found = await reconciled(
                database,
                inquiry,
                request.by,
                preview_id=query.confirm,
                allow_percent=query.allow_change,
            )
            return found.view(None if request.wants_csv else MOST_ROWS)

        try:
            return await self._thread.run(work)
        except WrongOption as error:
            text, param = f"{error.option}: {error}", error.option
        except NotConfirmed as error:
            raise Refusal("conflict", _text(error)) from None
        except StatementRefused as error:
            text, param = _text(error), "statement"
        raise Refusal("invalid_field", text, param)

    async def close_month(self, request: AdminRequest[Query, ClosingBody]) -> ReadModel:
        body, zone = request.body, self._settings.zone
        force = body.force_with_estimates
        try:
            closed = await self._thread.run(
                lambda database: books.close(
                    database, body.period, request.by, zone, with_estimates=force
                )
            )
        except NotClosable as error:
            raise Refusal("conflict", f"{body.period} is not closed: {error}.") from None
        return ClosedMonthView.of(closed)

    async def undo(self, request: AdminRequest[Query, UndoBody]) -> ReadModel:
        batch_id, dry_run = request.path["id"], request.body.dry_run

        async def work(database: Database) -> UndoView:
            plan = await database.read(lambda tx: plan_undo(tx, batch_id, request.by))
            if not dry_run:
                await books.take_back(database, plan)
            return UndoView.of_plan(plan, applied=not dry_run)

        try:
            return await self._thread.run(work)
        except UnknownBatch as error:
            raise Refusal("not_found", f"{error}.") from None
        except NotUndoable as error:
            raise Refusal("conflict", f"{error}.") from None

    async def export(self, request: AdminRequest[ExportQuery, Body]) -> ExportedFile:
        asked, settings = _export(request), self._settings
        closed = await self._database.read(closed_through)
        file = GrowingFile()

        async def write(tx: Transaction) -> None:
            if file.begun:
                raise StateUnavailable("the export was interrupted")
            await write_export(tx, asked, settings, file)

        async def work(database: Database) -> None:
            try:
                await database.read(write)
            except Abandoned:
                return
            finally:
                file.end()

        name = f"{asked.form}-{asked.first_day}-{asked.last_day}"
        kind = _MEDIA_TYPES.get(asked.form, "text/csv; charset=utf-8")
        ending = "jsonl" if asked.form == "json" else "csv"
        return ExportedFile(
            {
                "content-type": kind,
                "content-disposition": f'attachment; filename="{name}.{ending}"',
                "cache-control": "no-store",
                "x-gateway-books-closed": str(asked.last_day <= (closed or "")).lower(),
            },
            file.pieces(self._thread.run(work)),
        )


def reconciliation_csv(found: ReconciliationView, query: ReconcileQuery) -> str:
    return query.style.text(DIFFERENCE_COLUMNS, [row.row() for row in found.rows])


def _export(request: AdminRequest[ExportQuery, Body]) -> LedgerExport:
    query = request.query
    if query.period and (query.from_day or query.to_day):
        raise Refusal("invalid_field", "Give period, or from and to.", "period")
    if query.form in FIXED and query.model_fields_set & {"separator", "decimal", "bom", "raw"}:
        raise Refusal(
            "invalid_field", f"The format {query.form} is fixed: leave out how CSV is written.",
            "format",
        )  # fmt: skip
    days = month_days(query.period) if query.period else days_of(request)
    try:
        return LedgerExport(query.form, *days, query.style)
    except ValueError as error:
        raise Refusal("invalid_field", f"{error}.", "period") from None


def _text(error: Exception) -> str:
    """The refusal of a statement, with options named as parameters: `title_lines`."""
    text = refusal_text("The statement", error)
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), text)
