"""Booking: adds ledger rows and updates all sums of them, in one transaction.

Every transaction locks in the same order, so that no two wait for each other: reservation, ledger
rows, roll-ups, picture costs, balances. The balances come last, because every transaction locks
the organisation's row. One transaction therefore books all of its rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.database.database import Transaction
from gateway.ledger.tables import rollups
from gateway.ledger.tables.balances import BalanceChange, book
from gateway.ledger.tables.closed_days import open_day
from gateway.ledger.tables.ledger_rows import (
    CALL_COLUMNS,
    LARGEST_NANOS,
    LedgerRow,
    OpenReservation,
    insert_ledger_rows,
    token_columns,
)
from gateway.ledger.tables.picture_costs import highest_cost, raise_cost, recount_cost, seen_since
from gateway.model.reservation import PriceKey, Settlement
from gateway.pricing.rules.ceilings import per_image


def known_cost(settlement: Settlement) -> int | None:
    """The settlement's cost; None if it is unknown or out of range."""
    cost = settlement.cost_nanos
    return cost if cost is not None and 0 <= cost <= LARGEST_NANOS else None


def paid_images(cost_nanos: int, status: int | None, n: int) -> int:
    """The number of paid images: 0 if nothing was charged and the call did not succeed."""
    succeeded = status is not None and 200 <= status < 300
    return n if cost_nanos > 0 or succeeded else 0


async def call_row(
    tx: Transaction, held: OpenReservation, settlement: Settlement, now_ms: int
) -> LedgerRow:
    """The ledger row of a call.

    An unknown cost is estimated at the ceiling, or at what such a call has cost meanwhile.
    """
    known = known_cost(settlement)
    cost = known
    if cost is None:
        seen = await highest_cost(tx, held.price_key, seen_since(held.day))
        cost = max(held.ceiling_nanos, (seen or 0) * held.images)
    return LedgerRow(
        **{name: getattr(held, name) for name in CALL_COLUMNS},
        kind="call",
        at_ms=now_ms,
        upstream_request_id=settlement.upstream_request_id,
        credential=settlement.credential,
        answer_bytes=settlement.answer_bytes,
        status=settlement.status,
        n=held.images,
        images=held.images if known is None else paid_images(cost, settlement.status, held.images),
        cost_nanos=cost,
        estimated=int(known is None),
        cost_kind="estimated" if known is None else settlement.cost_kind,
        **token_columns(settlement),
    )


async def book_calls(tx: Transaction, closed: Sequence[tuple[OpenReservation, LedgerRow]]) -> None:
    """Book calls whose reservations this transaction has deleted."""
    rows = [row for _, row in closed]
    await insert_ledger_rows(tx, rows)
    await rollups.add(tx, [(row.day, row.dimensions, _sums_of_call(row)) for row in rows])
    for held, row in closed:
        if not row.estimated and row.n:
            each = per_image(row.cost_nanos, row.n)
            overrun = each if row.cost_nanos > held.ceiling_nanos else 0
            await raise_cost(tx, row.price_key, row.day, each, overrun)
    changes = (
        release_of(held, spent_nanos=row.cost_nanos, images=row.images) for held, row in closed
    )
    await book(tx, list(changes))


def _sums_of_call(row: LedgerRow) -> rollups.Sums:
    return rollups.Sums(
        paid_calls=int(row.cost_nanos > 0),
        spent_nanos=row.cost_nanos,
        estimated_calls=row.estimated,
        estimated_nanos=row.cost_nanos if row.estimated else 0,
        images=row.images,
    )


def release_of(held: OpenReservation, *, spent_nanos: int = 0, images: int = 0) -> BalanceChange:
    """Releases a reservation, and books what was spent instead."""
    return BalanceChange(
        team=held.team,
        key_id=held.key_id,
        day=held.day,
        spent_nanos=spent_nanos,
        held_nanos=-held.ceiling_nanos,
        images=images,
        images_held=-held.images,
        end_user=held.end_user,
    )


# --- corrections ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Correction:
    """A row to add for a call that cost `before_nanos` so far.

    `estimate` is the call, if its cost was an estimate until now, and `estimate_again` if it is one
    from now on, since a correction is taken back.
    """

    row: LedgerRow
    call_day: str
    before_nanos: int
    estimate: LedgerRow | None
    estimate_again: LedgerRow | None = None

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
    batch: str = "",
) -> LedgerRow:
    """The `number`th correction of a call, by these differences.

    It is booked in the call's day, or in the first open day if that day is closed. Then only the
    money is counted there: the limit of images is for the day of purchase.
    """
    day = open_day(call.day, closed_through)
    late = day != call.day
    return replace(
        call,
        day=day,
        late_for=call.about if late else call.late_for,
        id=f"{call.id}~{number}",
        kind="correction",
        corrects=call.id,
        at_ms=at_ms,
        cost_nanos=cost_nanos,
        images=0 if late else images,
        estimated=0,
        cost_kind="stated",
        batch=batch,
        budget_day=None,
        **token_columns(Settlement(None)),
    )


def of_own_budget(row: LedgerRow) -> LedgerRow:
    """The row, if it is late counted in the budgets of the day that it concerns."""
    return replace(row, budget_day=row.late_for)


def counter_row(
    row: LedgerRow, root: str, number: int, now_ms: int, batch: str, closed_through: str | None
) -> LedgerRow:
    """The row that takes `row` back: the `number`th that is booked on its call or adjustment.

    Pictures are taken back too: it counts in the budgets in which `row` counts.
    """
    day, counted = open_day(row.day, closed_through), row.budget_day or row.day
    return replace(
        row,
        day=day,
        late_for=row.about if day != row.day else row.late_for,
        id=f"{root}~{number}",
        kind="adjustment" if row.kind == "adjustment" else "correction",
        corrects=root,
        undoes=row.id,
        at_ms=max(now_ms, row.at_ms),
        cost_nanos=-row.cost_nanos,
        images=-row.images,
        estimated=0,
        batch=batch,
        budget_day=None if counted == day else counted,
        **token_columns(Settlement(None)),
    )


async def book_corrections(tx: Transaction, corrections: Sequence[Correction]) -> int:
    """Book corrections whose id is new. Returns the number of corrections booked."""
    by_id = {each.row.id: each for each in corrections}
    added = await insert_ledger_rows(tx, [each.row for each in corrections])
    new = [by_id[row.id] for row in added]
    await rollups.add(
        tx, [(each.row.day, each.row.dimensions, _sums_of_correction(each)) for each in new]
    )
    for key, day in sorted({(each.row.price_key, each.call_day) for each in new}):
        here = [each for each in new if (each.row.price_key, each.call_day) == (key, day)]
        await _update_picture_cost(tx, key, day, here)
    await book(tx, [_balance_change(each.row) for each in new])
    return len(new)


async def _update_picture_cost(
    tx: Transaction, key: PriceKey, day: str, corrections: Sequence[Correction]
) -> None:
    """Correcting an estimate can only raise the maximum; a known cost may have been the maximum.

    An estimate is the ceiling, or more; one that a sum confirms says nothing of a picture's cost.
    """
    corrections = [each for each in corrections if each.row.cost_kind != "confirmed_by_sum"]
    if all(each.estimate for each in corrections):
        for each in corrections:
            if each.row.n:
                seen = per_image(each.after_nanos, each.row.n)
                overrun = seen if each.after_nanos > each.before_nanos else 0
                await raise_cost(tx, key, day, seen, overrun)
    else:
        await recount_cost(tx, key, day)


def _sums_of_correction(correction: Correction) -> rollups.Sums:
    row, known, again = correction.row, correction.estimate, correction.estimate_again
    return rollups.Sums(
        paid_calls=int(correction.after_nanos > 0) - int(correction.before_nanos > 0),
        spent_nanos=row.cost_nanos,
        estimated_calls=(1 if again else 0) - (1 if known else 0),
        estimated_nanos=(again.cost_nanos if again else 0) - (known.cost_nanos if known else 0),
        corrections_nanos=row.cost_nanos,
        images=row.images,
    )


def _balance_change(row: LedgerRow) -> BalanceChange:
    return BalanceChange(
        *(row.team, row.key_id, row.budget_day or row.day),
        spent_nanos=row.cost_nanos,
        images=row.images,
        end_user=row.end_user,
    )


# --- lines of a statement -----------------------------------------------------------------


async def book_statement_rows(tx: Transaction, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Book calls and adjustments of a statement. Returns the rows that were new."""
    new = await insert_ledger_rows(tx, rows)
    await rollups.add(tx, [(row.day, row.dimensions, _sums_of_statement(row)) for row in new])
    for row in sorted(new, key=lambda row: (row.price_key, row.day)):
        if row.kind == "call" and row.n:
            await raise_cost(tx, row.price_key, row.day, per_image(row.cost_nanos, row.n))
    await book(tx, [_balance_change(row) for row in new])
    return new


def _sums_of_statement(row: LedgerRow) -> rollups.Sums:
    paid = int(row.kind == "call" and row.cost_nanos > 0)
    return rollups.Sums(paid_calls=paid, spent_nanos=row.cost_nanos, images=row.images)
