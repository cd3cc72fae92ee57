"""Undo: takes a batch back by counter-rows, which are added like all others.

A counter-row is the row that it takes back with the sign changed. It is booked in the day of that
row, or in the first open day if that is closed, and counts in the same budgets as that row. An
estimate that the batch settled is an estimate again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.tables.batches import Batch, find_batch, insert_batch
from gateway.ledger.tables.booking import (
    Correction,
    book_corrections,
    book_statement_rows,
    counter_row,
)
from gateway.ledger.tables.closed_days import lock_closings
from gateway.ledger.tables.corrections import BookedCall
from gateway.ledger.tables.ledger_rows import LEDGER_COLUMNS, LedgerRow, select_ledger_rows
from gateway.model.money import usd

PART_ROWS = 100

_LEFT = (
    "WHERE l.batch = $1 AND l.batch <> '' AND NOT EXISTS "
    "(SELECT 1 FROM ledger u WHERE u.undoes = l.id AND u.undoes <> '')"
)
_IN_PARTS = "ORDER BY CASE l.kind WHEN 'adjustment' THEN 1 ELSE 0 END, l.id LIMIT $2"
_CHAINS = (
    f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger WHERE id IN {{names}}",
    f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger WHERE corrects IN {{names}}",
)


class NotUndoable(Exception):
    """The batch can't be taken back; the message says why, and what to do. Nothing was booked."""


class UnknownBatch(NotUndoable):
    """There is no such batch."""


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """The rows of a batch that are still to be taken back, and the batch that does so."""

    batch: Batch
    rows: int
    cost_nanos: int


async def plan_undo(tx: Transaction, batch_id: str, by: Author) -> UndoPlan:
    """What is left of a batch. Raises NotUndoable."""
    found = await find_batch(tx, batch_id)
    if found is None:
        raise UnknownBatch(f"there is no batch {batch_id}: `gateway ledger undo --list` lists them")
    if found.kind == "undo":
        raise NotUndoable(
            f"{batch_id} took {found.source} back: book that again, by reconciling or repricing"
        )
    left = await select_ledger_rows(tx, _LEFT, batch_id)
    if not left and found.undone_by:
        raise NotUndoable(f"{batch_id} was taken back already, by {found.undone_by}")
    await _chains(tx, left, batch_id)
    undo = Batch(f"{batch_id}-undo", "undo", by, batch_id, found.upstream, found.period)
    return UndoPlan(undo, len(left), sum(row.cost_nanos for row in left))


async def undo_part(tx: Transaction, batch: Batch) -> int:
    """Take some rows back. Returns their number: call again until it is 0. Raises NotUndoable."""
    through = await lock_closings(tx)
    rows = await select_ledger_rows(tx, f"{_LEFT} {_IN_PARTS}", batch.source, PART_ROWS)
    of_calls = [row for row in rows if row.kind != "adjustment"]
    chains = await _chains(tx, of_calls or rows, batch.source)
    new = await insert_batch(tx, batch)
    counters = [each for chain in chains for each in _counters(chain, batch, through)]
    if of_calls:
        done = await book_corrections(tx, counters)
    else:
        done = len(await book_statement_rows(tx, [each.row for each in counters]))
    if done or new:
        nanos = sum(each.row.cost_nanos for each in counters)
        facts = {"batch": batch.id, "rows": done, "cost_usd": usd(nanos)}
        await append(tx, batch.by, "ledger.undo", f"batch:{batch.source}", {}, facts)
    return done


def _counters(chain: BookedCall, batch: Batch, through: str | None) -> list[Correction]:
    """The counter-rows of a chain, for its last rows first."""
    found = []
    for row in reversed(_left(chain, batch.source)):
        number = len(chain.corrections) + 1
        counter = counter_row(row, chain.call.id, number, batch.by.now_ms, batch.id, through)
        after = replace(chain, corrections=(*chain.corrections, counter))
        again = None if chain.estimate else after.estimate
        found.append(Correction(counter, chain.call.day, chain.cost_nanos, None, again))
        chain = after
    return found


async def _chains(tx: Transaction, rows: list[LedgerRow], batch_id: str) -> list[BookedCall]:
    """The calls, or adjustments, of these rows with all that was booked on them.

    Raises NotUndoable where something was booked since that still stands.
    """
    roots = [row.corrects or row.id for row in rows]
    found: dict[str, list[LedgerRow]] = {}
    for sql in _CHAINS:
        for fields in await fetch_named(tx, sql, roots):
            row = LedgerRow(**fields)
            found.setdefault(row.corrects or row.id, []).append(row)
    chains = []
    for same in found.values():
        root, *since = sorted(same, key=_place)
        chain = BookedCall(root, tuple(since))
        first = _place(_left(chain, batch_id)[0])
        for row in chain.standing:
            if _place(row) > first and row.batch != batch_id:
                raise NotUndoable(
                    f"the cost of {row.request_id or root.id} was changed since, by "
                    f"{row.batch or row.id}: take that back first"
                )
        chains.append(chain)
    return chains


def _left(chain: BookedCall, batch_id: str) -> list[LedgerRow]:
    """The rows of this batch that still stand, in the order of booking."""
    undone = {row.undoes for row in chain.corrections}
    rows = (chain.call, *chain.corrections)
    return [row for row in rows if row.batch == batch_id and row.id not in undone]


def _place(row: LedgerRow) -> int:
    """A chain's first row, then its corrections by their numbers."""
    return int(row.id.rpartition("~")[2]) if row.corrects else 0
