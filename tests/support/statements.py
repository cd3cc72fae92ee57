"""Statements for tests: previewed and confirmed on a state, as the command does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.statements.booking import confirm
from gateway.ledger.statements.previews import Inquiry, Preview, preview
from gateway.ledger.statements.reading import Statement
from gateway.ledger.tables.batches import Batch
from gateway.ledger.tables.statement_comparison import Source
from gateway.ledger.tables.undo import plan_undo, undo_part


def inquiry_of(
    lines: Sequence[StatementLine],
    options: StatementOptions,
    period: str | None = "2026-11",
    upstream: str = "deepshi",
    zone: tzinfo = UTC,
) -> Inquiry:
    statement = Statement("f" * 64, tuple(lines), (), 0)
    source = Source(upstream, statement.digest, zone)
    return Inquiry(statement=statement, options=options, source=source, period=period)


async def book_statement(
    database: Database, inquiry: Inquiry, by: Author, allow_percent: int | None = 100_000
) -> tuple[Preview, Batch]:
    """Preview, and confirm the preview."""
    shown = await preview(database, inquiry, by.now_ms)
    return await confirm(database, inquiry, shown.id, by, allow_percent=allow_percent)


async def undo_batch(database: Database, batch_id: str, by: Author) -> int:
    """Take a batch back; gives the number of counter-rows."""
    plan = await database.read(lambda tx: plan_undo(tx, batch_id, by))
    rows = 0
    while done := await database.write(lambda tx: undo_part(tx, plan.batch)):
        rows += done
    return rows


async def money_in(database: Database) -> dict[tuple[str, str], tuple[int, int]]:
    """The money and pictures of every balance that is not empty, by account and day."""
    rows = await database.read(
        lambda tx: tx.fetch(
            "SELECT account, day, spent_nanos, images FROM balances "
            "WHERE spent_nanos <> 0 OR images <> 0"
        )
    )
    return {(row["account"], row["day"]): (row["spent_nanos"], row["images"]) for row in rows}
