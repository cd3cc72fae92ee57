"""Booking corrections, in the order of `booking`, with everything that must agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.database.database import Transaction
from gateway.ledger.tables import rollups
from gateway.ledger.tables.balances import Move, book
from gateway.ledger.tables.booking import LedgerRow, add_rows
from gateway.ledger.tables.closed_days import open_day
from gateway.ledger.tables.seen_costs import raise_cost, recount_cost
from gateway.pricing.rules.prices import per_image


@dataclass(frozen=True, slots=True)
class Correction:
    """A row to add for a call that cost `before_nanos` so far.

    `estimate` is the call where this is the first that is known of its cost: it no longer
    counts as estimated.
    """

    row: LedgerRow
    call_day: str
    before_nanos: int
    estimate: LedgerRow | None

    @property
    def after_nanos(self) -> int:
        return self.before_nanos + self.row.cost_nanos


def correction_row(
    call: LedgerRow,
    *,
    number: int,
    cost_nanos: int,
    images: int,
    at_ms: int,
    closed_through: str | None,
) -> LedgerRow:
    """The `number`th correction of a call, by these differences.

    It is booked in its call's day, or in the first open one where that is closed: money then
    counts in that day, but pictures don't, which are limited by the day they were bought in.
    """
    day = open_day(call.day, closed_through)
    late = day != call.day
    return replace(
        call,
        day=day,
        late_for=(call.late_for or call.day) if late else call.late_for,
        id=f"{call.id}~{number}",
        kind="correction",
        corrects=call.id,
        at_ms=at_ms,
        cost_nanos=cost_nanos,
        images=0 if late else images,
        estimated=0,
    )


async def book_corrections(tx: Transaction, corrections: Sequence[Correction]) -> int:
    """Book corrections, except those whose id has been taken meanwhile; how many were booked."""
    by_id = {each.row.id: each for each in corrections}
    added = await add_rows(tx, [each.row for each in corrections])
    new = [by_id[row.id] for row in added]
    await rollups.add(tx, [(each.row.day, each.row.dimensions, _sums(each)) for each in new])
    for model, day in sorted({(each.row.model, each.call_day) for each in new}):
        here = [each for each in new if (each.row.model, each.call_day) == (model, day)]
        await _see_costs(tx, model, day, here)
    await book(tx, [_move(each.row) for each in new])
    return len(new)


async def _see_costs(
    tx: Transaction, model: str, day: str, corrections: Sequence[Correction]
) -> None:
    """What was estimated can only raise the highest cost; what was known may have been it."""
    if all(each.estimate for each in corrections):
        seen = [per_image(each.after_nanos, each.row.n) for each in corrections if each.row.n]
        await raise_cost(tx, model, day, max(seen, default=0))
    else:
        await recount_cost(tx, model, day)


def _sums(correction: Correction) -> rollups.Sums:
    row, estimate = correction.row, correction.estimate
    return rollups.Sums(
        paid_calls=int(correction.after_nanos > 0) - int(correction.before_nanos > 0),
        spent_nanos=row.cost_nanos,
        estimated_calls=-1 if estimate else 0,
        estimated_nanos=-estimate.cost_nanos if estimate else 0,
        corrections_nanos=row.cost_nanos,
    )


def _move(row: LedgerRow) -> Move:
    return Move(row.team, row.key_id, row.day, spent_nanos=row.cost_nanos, images=row.images)
