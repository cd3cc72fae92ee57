"""What became of one request, by its id: what was recorded of it, booked for it, or is still held.

Only for the key that made it: of another's request there is nothing to be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.coalescing.rules.joining import FRESH
from gateway.coalescing.rules.lease import Lease
from gateway.coalescing.tables import leases as flights
from gateway.database.database import Transaction
from gateway.ledger.tables.corrections import BookedCall, booked_of_request
from gateway.ledger.tables.ledger_rows import LedgerRow, OpenReservation
from gateway.ledger.tables.unresolved_reservations import (
    UnresolvedReservation,
    unresolved_of_request,
)
from gateway.ledger.tables.usage import UsageRow, find


@dataclass(frozen=True, slots=True)
class Remains:
    """What the state knows of a request.

    `row` is None until its batch is written, and where a crash lost that; `booked` are its
    upstream calls, `held` those that are not resolved yet. `leases` are those of its edit, by
    whichever request.
    """

    row: UsageRow | None
    booked: Sequence[BookedCall]
    held: Sequence[UnresolvedReservation]
    leases: Sequence[Lease] = ()

    @property
    def about(self) -> UsageRow | LedgerRow | OpenReservation | None:
        """What says what it was about; None where the state knows nothing of it."""
        if self.row:
            return self.row
        if self.booked:
            return self.booked[0].call
        return self.held[0].held if self.held else None

    @property
    def cost_nanos(self) -> int:
        """What is booked for it by now, corrections and estimates included."""
        return sum(each.cost_nanos for each in self.booked)

    @property
    def held_nanos(self) -> int:
        return sum(each.held.ceiling_nanos for each in self.held)

    @property
    def estimated(self) -> bool:
        """Is some of its cost still a ceiling instead of what was charged?"""
        return any(each.estimate for each in self.booked)

    @property
    def upstream_request_id(self) -> str:
        """The upstream's id of its last call that has one."""
        rows = [row for each in self.booked for row in (each.call, *each.corrections)]
        return next((row.upstream_request_id for row in rows[::-1] if row.upstream_request_id), "")


async def remains_of(
    tx: Transaction, request_id: str, key_id: str, fingerprint: str = ""
) -> Remains:
    """Everything of a request; `fingerprint` where it is known of a row not written yet."""
    row = await find(tx, request_id, key_id)
    booked = await booked_of_request(tx, request_id)
    remains = Remains(
        row,
        [each for each in booked if each.call.key_id == key_id],
        await unresolved_of_request(tx, request_id, key_id),
    )
    key = fingerprint or (remains.about.fingerprint if remains.about else "")
    return replace(remains, leases=await flights.read(tx, [key, FRESH + key])) if key else remains
