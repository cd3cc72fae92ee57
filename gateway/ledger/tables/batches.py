"""Batches: the rows that one reconciliation, repricing or correction booked, or took back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.accounts.tables.audit import Author
from gateway.database.database import Row, Transaction
from gateway.database.ids import new_id

EVERY = 10**9
BatchKind = Literal["reconcile", "reprice", "correct", "undo"]

_COLUMNS = "id, kind, at_ms, actor, reason, upstream, period, source, facts"
_INSERT = (
    f"INSERT INTO batches ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
    "ON CONFLICT (id) DO NOTHING RETURNING id"
)
_OF_BATCH = "FROM ledger l WHERE l.batch = b.id AND l.batch <> ''"
_LIST = (
    f"SELECT {_COLUMNS}, (SELECT COUNT(*) {_OF_BATCH}) AS ledger_rows, "
    f"(SELECT CAST(SUM(l.cost_nanos) AS BIGINT) {_OF_BATCH}) AS cost_nanos, "
    "(SELECT MAX(u.id) FROM batches u WHERE u.kind = 'undo' AND u.source = b.id) AS undone_by "
    "FROM batches b"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is booked together. `source` is that of the migration; `facts` are kept with it."""

    id: str
    kind: BatchKind
    by: Author
    source: str
    upstream: str = ""
    period: str = ""
    facts: str = "{}"


@dataclass(frozen=True, slots=True)
class BookedBatch:
    """A batch, the number of its rows and their sum; `undone_by` is the batch that took it back."""

    id: str
    kind: BatchKind
    at_ms: int
    actor: str
    reason: str
    upstream: str
    period: str
    source: str
    facts: Mapping[str, object]
    ledger_rows: int
    cost_nanos: int
    undone_by: str | None


def new_batch(kind: BatchKind, by: Author, source: str) -> Batch:
    """A batch with a new id."""
    return Batch(new_id("bat_"), kind, by, source)


async def insert_batch(tx: Transaction, batch: Batch) -> bool:
    """Add a batch; False if an earlier part of it has done so."""
    by = batch.by
    added = await tx.fetch(
        _INSERT,
        *(batch.id, batch.kind, by.now_ms, by.actor, by.reason),
        *(batch.upstream, batch.period, batch.source, batch.facts),
    )
    return bool(added)


async def list_batches(
    tx: Transaction, *, after: str = "", limit: int = EVERY
) -> list[BookedBatch]:
    """The batches, newest first; those after the batch of this id."""
    rows = await tx.fetch(
        f"{_LIST} WHERE $1 = '' OR (at_ms, id) < (SELECT at_ms, id FROM batches WHERE id = $1) "
        "ORDER BY at_ms DESC, id DESC LIMIT $2",
        *(after, limit),
    )
    return [_batch(row) for row in rows]


async def find_batch(tx: Transaction, batch_id: str) -> BookedBatch | None:
    rows = await tx.fetch(f"{_LIST} WHERE id = $1", batch_id)
    return _batch(rows[0]) if rows else None


async def latest_of(tx: Transaction, upstream: str) -> str:
    """The latest batch that a statement of this upstream made, or took back; "" if none."""
    rows = await tx.fetch(
        "SELECT id FROM batches WHERE upstream = $1 ORDER BY at_ms DESC, id DESC LIMIT 1", upstream
    )
    return rows[0]["id"] if rows else ""


async def reconciled(tx: Transaction, period: str) -> dict[str, str]:
    """The last batch of each upstream whose statement of this month is reconciled."""
    rows = await tx.fetch(
        f"{_LIST} WHERE kind = 'reconcile' AND period = $1 ORDER BY at_ms, id", period
    )
    return {row["upstream"]: row["id"] for row in rows if row["undone_by"] is None}


def _batch(row: Row) -> BookedBatch:
    facts = json.loads(row["facts"])
    return BookedBatch(**{**row, "facts": facts, "cost_nanos": row["cost_nanos"] or 0})
