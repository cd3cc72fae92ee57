"""Corrections of a call's cost after it was booked.

Ledger rows are never changed. The corrections of a call are numbered, and the number is part of
their id: of two concurrent corrections, one finds its id taken and is computed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Transaction
from gateway.ledger.rules.budget import spendable
from gateway.ledger.tables.balances import accounts_of, balances_of
from gateway.ledger.tables.batches import Batch, insert_batch, new_batch
from gateway.ledger.tables.booking import (
    Correction,
    book_corrections,
    correction_row,
    known_cost,
    paid_images,
)
from gateway.ledger.tables.closed_days import lock_closings
from gateway.ledger.tables.ledger_rows import (
    LARGEST_NANOS,
    LedgerRow,
    select_ledger_rows,
    token_columns,
)
from gateway.model.money import usd
from gateway.model.reservation import CostKind, Settled, Settlement
from gateway.model.token_usage import TOKEN_KINDS, TokenUsage
from gateway.model.windows import day_of

_KNOWN_KINDS: tuple[CostKind, ...] = ("stated", "confirmed_by_sum", "computed")
"""How a correction makes a cost known, the most certain first."""


class UnknownReservation(Exception):
    """No reservation ever had this id, or it was voided; nothing was booked."""


class UnknownRequest(Exception):
    """The ledger has no call of this request; nothing was booked."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """The total cost of a request's calls, before and after."""

    request_id: str
    before_nanos: int
    after_nanos: int
    corrections: int
    """The number of rows added; 0 if the ledger had this cost already."""
    held_nanos: int = 0
    """Still held for calls of this request that are not in the ledger yet."""
    booked_in: str = ""
    """The first open day, if a call's own day is closed; else ""."""
    batch: str = ""
    """The batch that takes the correction back, if one was booked."""

    @property
    def confirmed(self) -> bool:
        """True if an estimate proved right."""
        return self.corrections > 0 and self.before_nanos == self.after_nanos


@dataclass(frozen=True, slots=True)
class BookedCall:
    """A call and its corrections so far."""

    call: LedgerRow
    corrections: tuple[LedgerRow, ...]

    @property
    def cost_nanos(self) -> int:
        return self.call.cost_nanos + sum(row.cost_nanos for row in self.corrections)

    @property
    def images(self) -> int:
        return self.call.images + sum(row.images for row in self.corrections)

    @property
    def estimate(self) -> LedgerRow | None:
        """The call, if its cost is still an estimate."""
        return self.call if self.call.estimated and not self.standing else None

    @property
    def standing(self) -> Sequence[LedgerRow]:
        """The corrections that were not taken back."""
        undone = {row.undoes for row in self.corrections}
        return [row for row in self.corrections if not row.undoes and row.id not in undone]

    @property
    def tokens(self) -> TokenUsage:
        """The tokens of its answer, which may have come late."""
        rows = (self.call, *self.corrections)
        return TokenUsage(**{kind: sum(getattr(row, kind) for row in rows) for kind in TOKEN_KINDS})

    @property
    def cost_kind(self) -> CostKind:
        """How its cost is known now. What was stated once is never computed again."""
        kinds = {row.cost_kind for row in self.standing}
        return next((kind for kind in _KNOWN_KINDS if kind in kinds), self.call.cost_kind)

    def next(
        self,
        cost_nanos: int,
        status: int | None,
        now_ms: int,
        closed_through: str | None,
        batch: str = "",
    ) -> Correction:
        """The correction to this total cost; never dated before the rows it corrects."""
        row = correction_row(
            self.call,
            number=len(self.corrections) + 1,
            cost_nanos=cost_nanos - self.cost_nanos,
            images=paid_images(cost_nanos, status, self.call.n) - self.images,
            at_ms=max(now_ms, self.call.at_ms, *(row.at_ms for row in self.corrections)),
            closed_through=closed_through,
            batch=batch,
        )
        return Correction(row, self.call.day, self.cost_nanos, self.estimate)


async def settle_late(
    tx: Transaction, reservation_id: str, settlement: Settlement, *, now_ms: int, zone: tzinfo
) -> Settled:
    """Settle a call that was resolved before: only an estimate is corrected.

    A manual correction is final. Raises UnknownReservation.
    """
    cost = known_cost(settlement)
    booked = await booked_call(tx, reservation_id)
    overrun = 0
    while cost is not None and booked.estimate:
        closed_through = await lock_closings(tx)
        correction = booked.next(cost, settlement.status, now_ms, closed_through)
        row = replace(
            correction.row,
            upstream_request_id=settlement.upstream_request_id,
            credential=settlement.credential,
            answer_bytes=settlement.answer_bytes,
            status=settlement.status,
            cost_kind=settlement.cost_kind,
            **token_columns(settlement),
        )
        if await book_corrections(tx, [replace(correction, row=row)]):
            overrun = max(0, row.cost_nanos)
        booked = await booked_call(tx, reservation_id)
    call, day = booked.call, day_of(now_ms, zone)
    accounts = accounts_of(call.team, call.key_id)
    balances = await balances_of(tx, accounts, day, zone, end_user=call.end_user)
    return Settled(
        reservation_id=reservation_id,
        cost_nanos=booked.cost_nanos,
        cost_kind=booked.cost_kind,
        overrun_nanos=overrun,
        remaining_nanos=spendable(balances),
    )


async def correct(tx: Transaction, request_id: str, cost_nanos: int, by: Author) -> Corrected:
    """Correct the ledger manually, so that all calls of this request cost `cost_nanos`.

    The difference goes to an estimated call first, then to the last one; no call falls below 0.
    Afterwards no call of the request is an estimate. A change is written to the audit. Raises
    UnknownRequest, and ValueError for a cost out of range.
    """
    if not 0 <= cost_nanos <= LARGEST_NANOS:
        raise ValueError(
            f"a request can't have cost ${usd(cost_nanos)}: "
            f"the cost must be from $0 to ${usd(LARGEST_NANOS)}"
        )
    booked = old = await _known_of_request(tx, request_id)
    batch = new_batch("correct", by, request_id)
    late: set[str] = set()
    added = 0
    closed_through = await lock_closings(tx)
    while pending := _corrections(booked, cost_nanos, batch, closed_through):
        late |= {each.row.day for each in pending if each.row.day != each.call_day}
        added += await book_corrections(tx, pending)
        booked = await _known_of_request(tx, request_id)
    if added:
        await insert_batch(tx, batch)
        await append(tx, by, "ledger.correct", f"request:{request_id}", _facts(old), _facts(booked))
    held_nanos = await _held_for(tx, request_id)
    return Corrected(
        *(request_id, _total(old), _total(booked), added, held_nanos),
        booked_in=max(late, default=""),
        batch=batch.id if added else "",
    )


def _facts(booked: Sequence[BookedCall]) -> dict[str, object]:
    return {
        "cost_usd": usd(_total(booked)),
        "estimated_calls": sum(each.estimate is not None for each in booked),
    }


def _total(booked: Sequence[BookedCall]) -> int:
    return sum(each.cost_nanos for each in booked)


def _corrections(
    booked: Sequence[BookedCall], cost_nanos: int, batch: Batch, closed_through: str | None
) -> list[Correction]:
    """The corrections after which the calls cost this in total and none is an estimate."""
    costs, now_ms = _costs(booked, cost_nanos), batch.by.now_ms
    return [
        each.next(costs[each.call.id], each.call.status, now_ms, closed_through, batch.id)
        for each in booked
        if each.estimate or costs[each.call.id] != each.cost_nanos
    ]


def _costs(booked: Sequence[BookedCall], cost_nanos: int) -> dict[str, int]:
    """The new cost of each call, at least 0, with this sum.

    Estimated calls change first, then the last ones.
    """
    estimated = [each.call.id for each in booked if each.estimate]
    known = [each.call.id for each in reversed(booked) if not each.estimate]
    costs = {each.call.id: max(0, each.cost_nanos) for each in booked}
    too_much = sum(costs.values()) - cost_nanos
    for call_id in [*estimated, *known]:
        taken = min(too_much, costs[call_id])
        costs[call_id] -= taken  # below 0 it is added, all of it to the first
        too_much -= taken
    return costs


async def _held_for(tx: Transaction, request_id: str) -> int:
    rows = await tx.fetch(
        "SELECT CAST(SUM(ceiling_nanos) AS BIGINT) AS nanos FROM reservations "
        "WHERE request_id = $1",
        request_id,
    )
    return rows[0]["nanos"] or 0


async def booked_call(tx: Transaction, reservation_id: str) -> BookedCall:
    """A call by its reservation's id. Raises UnknownReservation."""
    rows = await select_ledger_rows(tx, "WHERE id = $1 OR corrects = $1", reservation_id)
    for booked in grouped(rows):
        return booked
    raise UnknownReservation(f"nothing is or was held as {reservation_id}")


async def booked_of_request(tx: Transaction, request_id: str, key_id: str = "") -> list[BookedCall]:
    """The calls of a request in the order of booking, each with its corrections.

    With `key_id`, those of another key are not read.
    """
    of_key = "WHERE request_id = $1 AND (key_id = $2 OR $2 = '')"
    return grouped(await select_ledger_rows(tx, of_key, request_id, key_id))


async def _known_of_request(tx: Transaction, request_id: str) -> list[BookedCall]:
    if not request_id:  # as in rows whose request is unknown
        raise UnknownRequest("name the request")
    if booked := await booked_of_request(tx, request_id):
        return booked
    if held_nanos := await _held_for(tx, request_id):
        raise UnknownRequest(
            f"the ledger has no call of the request {request_id} yet: ${usd(held_nanos)} is held "
            "for it until it is resolved; correct it then"
        )
    raise UnknownRequest(f"the ledger has no call of the request {request_id}")


def grouped(rows: Iterable[LedgerRow]) -> list[BookedCall]:
    """The calls among these rows in the order of booking, each with its corrections."""
    ledger = sorted(rows, key=lambda row: (row.at_ms, row.id))
    corrections: defaultdict[str | None, list[LedgerRow]] = defaultdict(list)
    for row in ledger:
        corrections[row.corrects].append(row)
    return [BookedCall(call, tuple(corrections[call.id])) for call in ledger if call.kind == "call"]
