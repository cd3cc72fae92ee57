"""Repricing: books calls that are priced by tokens at the prices of another table.

Only costs that were computed, and estimates whose tokens were counted, change; what the upstream,
the bill or a person stated stays. A repricing that is repeated books nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.accounts.tables.audit import append
from gateway.database.database import Transaction
from gateway.ledger.tables.batches import Batch, insert_batch
from gateway.ledger.tables.booking import book_corrections, of_own_budget
from gateway.ledger.tables.closed_days import lock_closings
from gateway.ledger.tables.corrections import BookedCall, booked_call, grouped
from gateway.ledger.tables.ledger_rows import LedgerRow, select_ledger_rows
from gateway.model.money import usd
from gateway.pricing.rules.price_table import PriceTable

_COUNTED = (
    "WHERE COALESCE(l.corrects, l.id) IN (SELECT COALESCE(corrects, id) FROM ledger "
    "WHERE day >= $1 AND day <= $2 AND text_in + image_in + text_out + image_out > 0)"
)


@dataclass(frozen=True, slots=True)
class RepricedCall:
    """A call, its cost so far, and its cost by the table."""

    call: LedgerRow
    before_nanos: int
    after_nanos: int


async def compare_prices(
    tx: Transaction, table: PriceTable, first_day: str, last_day: str
) -> list[RepricedCall]:
    """The calls booked in these days whose cost by the table is another, oldest first."""
    rows = await select_ledger_rows(tx, _COUNTED, first_day, last_day)
    found = (_repriced(booked, table) for booked in grouped(rows))
    return [each for each in found if each]


async def reprice(
    tx: Transaction, calls: Sequence[RepricedCall], table: PriceTable, batch: Batch
) -> int:
    """Correct these calls to their cost by the table. Returns the number of corrections."""
    by = batch.by
    through = await lock_closings(tx)
    corrections = []
    for each in sorted(calls, key=lambda each: each.call.id):
        booked = await booked_call(tx, each.call.id)
        if (now := _repriced(booked, table)) is None:
            continue
        correction = booked.next(now.after_nanos, booked.call.status, by.now_ms, through, batch.id)
        row = replace(
            of_own_budget(correction.row),
            cost_kind="computed",
            computed_nanos=now.after_nanos,
            price_version=table.version,
        )
        corrections.append(replace(correction, row=row))
    count = await book_corrections(tx, corrections)
    if count:
        await insert_batch(tx, batch)
        nanos = sum(each.row.cost_nanos for each in corrections)
        facts = {"batch": batch.id, "corrections": count, "cost_usd": usd(nanos)}
        await append(tx, by, "ledger.reprice", f"prices:{table.version}", {}, facts)
    return count


def _repriced(booked: BookedCall, table: PriceTable) -> RepricedCall | None:
    """None where its cost was stated, has no price, or is that of the table."""
    call, before = booked.call, booked.cost_nanos
    if booked.cost_kind == "stated":
        return None
    day = call.late_for or call.day
    after = table.cost_of(booked.tokens, call.price_key, call.n, day)
    if after is None or (after == before and not booked.estimate):
        return None
    return RepricedCall(call, before, after)
