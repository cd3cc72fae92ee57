"""Booking: adds ledger rows, with everything that must agree with them, in one transaction.

The order is the same everywhere, so that no two transactions wait for each other: the
reservation, the ledger's rows, roll-ups, models' costs, and last the balances, whose
organisation row every transaction locks and none should hold for long. One transaction
therefore books all of its rows at once, not row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.database.database import Transaction
from gateway.ledger.tables import rollups
from gateway.ledger.tables.balances import BalanceChange, book
from gateway.ledger.tables.closed_days import open_day
from gateway.ledger.tables.ledger_rows import (
    LARGEST_NANOS,
    LedgerRow,
    OpenReservation,
    insert_ledger_rows,
)
from gateway.ledger.tables.model_costs import raise_cost, recount_cost
from gateway.model.reservation import Settlement
from gateway.pricing.rules.prices import per_image

# --- calls ------------------------------------------------------------------------------


def known_cost(settlement: Settlement) -> int | None:
    """The settlement's cost, or None where it is unknown or can't be true."""
    cost = settlement.cost_nanos
    return cost if cost is not None and 0 <= cost <= LARGEST_NANOS else None


def paid_images(cost_nanos: int, status: int | None, n: int) -> int:
    """How many pictures count as paid: none where nothing was charged and nothing came."""
    came = status is not None and 200 <= status < 300
    return n if cost_nanos > 0 or came else 0


def call_row(held: OpenReservation, settlement: Settlement, now_ms: int) -> LedgerRow:
    """The ledger's row of a call: at its cost, or at the ceiling, estimated, where unknown."""
    known = known_cost(settlement)
    cost = held.ceiling_nanos if known is None else known
    return LedgerRow(
        id=held.id,
        kind="call",
        corrects=None,
        at_ms=now_ms,
        day=held.day,
        request_id=held.request_id,
        upstream_request_id=settlement.upstream_request_id,
        credential=settlement.credential,
        team=held.team,
        key_id=held.key_id,
        model=held.model,
        route=held.route,
        fingerprint=held.fingerprint,
        reference_images=held.reference_images,
        body_bytes=held.body_bytes,
        answer_bytes=settlement.answer_bytes,
        status=settlement.status,
        n=held.images,
        images=held.images if known is None else paid_images(cost, settlement.status, held.images),
        cost_nanos=cost,
        estimated=int(known is None),
        owner=held.owner,
        cost_centre=held.cost_centre,
        tags=held.tags,
    )


async def book_calls(tx: Transaction, closed: Sequence[tuple[OpenReservation, LedgerRow]]) -> None:
    """Book calls whose reservations this transaction has taken out."""
    rows = [row for _, row in closed]
    await insert_ledger_rows(tx, rows)
    await rollups.add(tx, [(row.day, row.dimensions, _sums_of_call(row)) for row in rows])
    for row in rows:
        if not row.estimated and row.n:
            await raise_cost(tx, row.model, row.day, per_image(row.cost_nanos, row.n))
    await book(tx, [_release(held, row) for held, row in closed])


def _sums_of_call(row: LedgerRow) -> rollups.Sums:
    return rollups.Sums(
        paid_calls=int(row.cost_nanos > 0),
        spent_nanos=row.cost_nanos,
        estimated_calls=row.estimated,
        estimated_nanos=row.cost_nanos if row.estimated else 0,
    )


def _release(held: OpenReservation, row: LedgerRow) -> BalanceChange:
    return BalanceChange(
        team=held.team,
        key_id=held.key_id,
        day=held.day,
        spent_nanos=row.cost_nanos,
        held_nanos=-held.ceiling_nanos,
        images=row.images,
        images_held=-held.images,
    )


# --- corrections ----------------------------------------------------------------------------


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
    added = await insert_ledger_rows(tx, [each.row for each in corrections])
    new = [by_id[row.id] for row in added]
    await rollups.add(
        tx, [(each.row.day, each.row.dimensions, _sums_of_correction(each)) for each in new]
    )
    for model, day in sorted({(each.row.model, each.call_day) for each in new}):
        here = [each for each in new if (each.row.model, each.call_day) == (model, day)]
        await _update_model_cost(tx, model, day, here)
    await book(tx, [_balance_change(each.row) for each in new])
    return len(new)


async def _update_model_cost(
    tx: Transaction, model: str, day: str, corrections: Sequence[Correction]
) -> None:
    """What was estimated can only raise the highest cost; what was known may have been it."""
    if all(each.estimate for each in corrections):
        seen = [per_image(each.after_nanos, each.row.n) for each in corrections if each.row.n]
        await raise_cost(tx, model, day, max(seen, default=0))
    else:
        await recount_cost(tx, model, day)


def _sums_of_correction(correction: Correction) -> rollups.Sums:
    row, estimate = correction.row, correction.estimate
    return rollups.Sums(
        paid_calls=int(correction.after_nanos > 0) - int(correction.before_nanos > 0),
        spent_nanos=row.cost_nanos,
        estimated_calls=-1 if estimate else 0,
        estimated_nanos=-estimate.cost_nanos if estimate else 0,
        corrections_nanos=row.cost_nanos,
    )


def _balance_change(row: LedgerRow) -> BalanceChange:
    return BalanceChange(
        row.team, row.key_id, row.day, spent_nanos=row.cost_nanos, images=row.images
    )


# --- lines of a statement -----------------------------------------------------------------


async def book_statement_rows(tx: Transaction, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Book calls and adjustments that a statement has; returns those that were not booked yet."""
    new = await insert_ledger_rows(tx, rows)
    await rollups.add(tx, [(row.day, row.dimensions, _sums_of_statement(row)) for row in new])
    for row in sorted(new, key=lambda row: (row.model, row.day)):
        if row.kind == "call":
            await raise_cost(tx, row.model, row.day, per_image(row.cost_nanos, row.n))
    await book(tx, [_balance_change(row) for row in new])
    return new


def _sums_of_statement(row: LedgerRow) -> rollups.Sums:
    paid = int(row.kind == "call" and row.cost_nanos > 0)
    return rollups.Sums(paid_calls=paid, spent_nanos=row.cost_nanos)
