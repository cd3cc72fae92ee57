"""Corrections: what became known of a call's cost after it was booked.

The ledger is only added to. The corrections of a call are numbered, and the number is part
of their id: of two that are written at once, one finds its id taken and looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.model import Settled, Settlement
from gateway.rules.budgets import spendable
from gateway.rules.money import usd
from gateway.rules.windows import day_of
from gateway.state.audit import Author, append
from gateway.state.balances import accounts_of, balances_of
from gateway.state.booking import (
    LARGEST_NANOS,
    LEDGER_SELECT,
    LedgerRow,
    book_correction,
    correction_row,
    known_cost,
    paid_images,
    remember_cost,
)
from gateway.state.database import Row, Transaction


class UnknownReservation(Exception):
    """Nothing was ever held under this id, or it was voided; nothing was booked."""


class UnknownRequest(Exception):
    """The ledger has no call of this request; nothing was booked."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a request's calls cost in all, as booked before and after."""

    request_id: str
    before_nanos: int
    after_nanos: int
    corrections: int
    """How many rows were added; 0 where the ledger said so already."""


@dataclass(frozen=True, slots=True)
class _Booked:
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
        """The call, where its cost is still an estimate."""
        return self.call if self.call.estimated and not self.corrections else None

    def next(self, cost_nanos: int, status: int | None, now_ms: int) -> LedgerRow:
        """The correction that brings the call to this cost."""
        return correction_row(
            self.call,
            number=len(self.corrections) + 1,
            cost_nanos=cost_nanos - self.cost_nanos,
            images=paid_images(cost_nanos, status, self.call.n) - self.images,
            now_ms=now_ms,
        )


async def settle_late(
    tx: Transaction, reservation_id: str, settlement: Settlement, *, now_ms: int, zone: tzinfo
) -> Settled:
    """Settle a call that was resolved before: an estimate is corrected, the rest stays.

    A correction made by hand is final too. Raises UnknownReservation.
    """
    cost = known_cost(settlement)
    booked = await _booked(tx, reservation_id)
    overrun = 0
    while cost is not None and booked.estimate:
        row = replace(
            booked.next(cost, settlement.status, now_ms),
            upstream_request_id=settlement.upstream_request_id,
            credential=settlement.credential,
            answer_bytes=settlement.answer_bytes,
            status=settlement.status,
        )
        if await book_correction(tx, row, booked.estimate):
            await remember_cost(tx, row, cost)
            overrun = max(0, row.cost_nanos)
        booked = await _booked(tx, reservation_id)
    accounts = accounts_of(booked.call.team, booked.call.key_id)
    balances = await balances_of(tx, accounts, day_of(now_ms, zone), zone)
    return Settled(
        reservation_id=reservation_id,
        cost_nanos=booked.cost_nanos,
        estimated=booked.estimate is not None,
        overrun_nanos=overrun,
        remaining_nanos=spendable(balances),
    )


async def correct(tx: Transaction, request_id: str, cost_nanos: int, by: Author) -> Corrected:
    """Correct the ledger by hand, so that all calls of this request cost `cost_nanos`.

    An estimated call takes the difference, else the last one; no call of the request counts
    as estimated afterwards. Written to the audit, unless the ledger says so already. Raises
    UnknownRequest, and ValueError for a cost that makes no sense.
    """
    if not 0 <= cost_nanos <= LARGEST_NANOS:
        raise ValueError(f"a request can't have cost {cost_nanos} nano-dollars")
    booked = old = await _booked_of_request(tx, request_id)
    added = 0
    while pending := _corrections(booked, cost_nanos - _total(booked), by.now_ms):
        for row, estimate in pending:
            added += await book_correction(tx, row, estimate)
        booked = await _booked_of_request(tx, request_id)
    if added:
        await append(tx, by, "ledger.correct", f"request:{request_id}", _facts(old), _facts(booked))
    return Corrected(request_id, _total(old), _total(booked), added)


def _facts(booked: Sequence[_Booked]) -> dict[str, object]:
    """What the audit shows of a request's money."""
    return {
        "cost_usd": usd(_total(booked)),
        "estimated_calls": sum(each.estimate is not None for each in booked),
    }


def _total(booked: Sequence[_Booked]) -> int:
    return sum(each.cost_nanos for each in booked)


def _corrections(
    booked: Sequence[_Booked], difference_nanos: int, now_ms: int
) -> list[tuple[LedgerRow, LedgerRow | None]]:
    """The rows to add, each with the call that it takes out of the estimated ones."""
    estimated = [each for each in booked if each.estimate]
    target = estimated[0] if estimated else booked[-1]
    changes = {target.call.id: difference_nanos} if difference_nanos else {}
    changes |= {each.call.id: changes.get(each.call.id, 0) for each in estimated}
    return [
        (
            each.next(each.cost_nanos + changes[each.call.id], each.call.status, now_ms),
            each.estimate,
        )
        for each in booked
        if each.call.id in changes
    ]


async def _booked(tx: Transaction, reservation_id: str) -> _Booked:
    rows = await tx.fetch(
        f"SELECT {LEDGER_SELECT} FROM ledger WHERE id = $1 OR corrects = $1", reservation_id
    )
    for booked in _grouped(rows):
        return booked
    raise UnknownReservation(f"nothing is or was held as {reservation_id}")


async def _booked_of_request(tx: Transaction, request_id: str) -> list[_Booked]:
    rows = await tx.fetch(f"SELECT {LEDGER_SELECT} FROM ledger WHERE request_id = $1", request_id)
    booked = _grouped(rows)
    if not booked:
        raise UnknownRequest(f"the ledger has no call of the request {request_id}")
    return booked


def _grouped(rows: Sequence[Row]) -> list[_Booked]:
    """Calls in the order they were booked in, each with its corrections."""
    ledger = sorted((LedgerRow(**row) for row in rows), key=lambda row: (row.at_ms, row.id))
    return [
        _Booked(call, tuple(row for row in ledger if row.corrects == call.id))
        for call in ledger
        if call.kind == "call"
    ]
