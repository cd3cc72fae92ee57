"""One request in the state, by its id: its usage row, its booked calls, its open reservations.

Only for the key that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.coalescing.rules.joining import FRESH
from gateway.coalescing.rules.lease import Lease
from gateway.coalescing.tables import leases
from gateway.database.database import Transaction
from gateway.ledger.tables.corrections import BookedCall, booked_of_request
from gateway.ledger.tables.ledger_rows import LedgerRow, OpenReservation
from gateway.ledger.tables.unresolved_reservations import (
    UnresolvedReservation,
    unresolved_of_request,
)
from gateway.ledger.tables.usage import UsageRow, find


@dataclass(frozen=True, slots=True)
class RequestHistory:
    """What the state knows of a request.

    `row` is None until its batch is written, and where a crash lost it; `booked` are its
    upstream calls, `held` its open reservations. `leases` are all leases of its edit.
    """

    row: UsageRow | None
    booked: Sequence[BookedCall]
    held: Sequence[UnresolvedReservation]
    leases: Sequence[Lease] = ()

    @property
    def about(self) -> UsageRow | LedgerRow | OpenReservation | None:
        """A row that names its edit; None where the state knows nothing of the request."""
        if self.row:
            return self.row
        if self.booked:
            return self.booked[0].call
        return self.held[0].held if self.held else None

    @property
    def cost_nanos(self) -> int:
        """The cost booked so far, corrections and estimates included."""
        return sum(each.cost_nanos for each in self.booked)

    @property
    def held_nanos(self) -> int:
        return sum(each.held.ceiling_nanos for each in self.held)

    @property
    def estimated(self) -> bool:
        """Is part of its cost a ceiling instead of the charge?"""
        return any(each.estimate for each in self.booked)

    @property
    def upstream_request_id(self) -> str:
        """The upstream's id of the last call that has one."""
        rows = [row for each in self.booked for row in (each.call, *each.corrections)]
        return next((row.upstream_request_id for row in rows[::-1] if row.upstream_request_id), "")


async def history_of(
    tx: Transaction, request_id: str, key_id: str, fingerprint: str = ""
) -> RequestHistory:
    """Everything of a request; `fingerprint` comes from a row that is not written yet, if any."""
    row = await find(tx, request_id, key_id)
    booked = await booked_of_request(tx, request_id)
    history = RequestHistory(
        row,
        [each for each in booked if each.call.key_id == key_id],
        await unresolved_of_request(tx, request_id, key_id),
    )
    key = fingerprint or (history.about.fingerprint if history.about else "")
    return replace(history, leases=await leases.read(tx, [key, FRESH + key])) if key else history
