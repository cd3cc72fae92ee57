"""Unresolved reservations: what a process that died has left held.

Held money counts as spent until it is resolved, so a crash can't overspend; it can only
keep money locked away. Who resolves never voids: the call may well have been charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Row, Transaction
from gateway.database.multirow import insert_rows
from gateway.ledger.tables.booking import RESERVATION_COLUMNS, OpenReservation, book_calls, call_row
from gateway.ledger.tables.reserve_settle import take
from gateway.model.money import usd
from gateway.model.reservation import Settlement

_UNKNOWN = Settlement(cost_nanos=None)

_BEAT = "INSERT INTO owners (id, host, pid, started_ms, heartbeat_ms)"
_AGAIN = "ON CONFLICT (id) DO UPDATE SET heartbeat_ms = excluded.heartbeat_ms"
_SELECT = (
    f"SELECT {', '.join(f'r.{name}' for name in RESERVATION_COLUMNS)}, o.heartbeat_ms "
    "FROM reservations r LEFT JOIN owners o ON o.id = r.owner_id"
)
_OLDEST_FIRST = "ORDER BY r.made_ms, r.id"
_OPEN = f"{_SELECT} {_OLDEST_FIRST}"
_OF_REQUEST = f"{_SELECT} WHERE r.request_id = $1 AND r.key_id = $2 {_OLDEST_FIRST}"
_ABANDONED = (
    "SELECT r.id FROM reservations r LEFT JOIN owners o ON o.id = r.owner_id "
    "WHERE r.made_ms < $1 AND (o.id IS NULL OR o.heartbeat_ms < $2) "
    "ORDER BY r.made_ms, r.id LIMIT $3"
)
_FORGET = (
    "DELETE FROM owners WHERE heartbeat_ms < $1 "
    "AND NOT EXISTS (SELECT 1 FROM reservations r WHERE r.owner_id = owners.id)"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that makes reservations. `id` is new at every start."""

    id: str
    host: str
    pid: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An open reservation, and when the process that holds it was last known to live."""

    held: OpenReservation
    heartbeat_ms: int | None
    """None where the process has said goodbye, or was never heard of."""

    def abandoned(self, *, now_ms: int, longest_flight_ms: int, heartbeat_expiry_ms: int) -> bool:
        """Is it older than any flight, and its process gone? `resolve` goes by the same rule."""
        gone = self.heartbeat_ms is None or self.heartbeat_ms < now_ms - heartbeat_expiry_ms
        return gone and self.held.made_ms < now_ms - longest_flight_ms


async def beat(tx: Transaction, owner: Owner, now_ms: int) -> None:
    """This process lives. `now_ms` is by the state's clock, which all its processes share."""
    values = (owner.id, owner.host, owner.pid, owner.started_ms, now_ms)
    await insert_rows(tx, _BEAT, [values], _AGAIN)


async def retire(tx: Transaction, owner_id: str) -> None:
    """This process ends and will settle nothing any more."""
    await tx.fetch("DELETE FROM owners WHERE id = $1", owner_id)


async def list_unresolved(tx: Transaction) -> list[Unresolved]:
    """Every open reservation, oldest first: the calls in flight, and what crashes left."""
    return [_unresolved(row) for row in await tx.fetch(_OPEN)]


async def unresolved_of_request(tx: Transaction, request_id: str, key_id: str) -> list[Unresolved]:
    """What is held for a request that this key has made, oldest first."""
    return [_unresolved(row) for row in await tx.fetch(_OF_REQUEST, request_id, key_id)]


async def resolve(
    tx: Transaction,
    *,
    now_ms: int,
    longest_flight_ms: int,
    heartbeat_expiry_ms: int,
    limit: int = 100,
) -> Sequence[OpenReservation]:
    """Settle what was abandoned at its ceiling, estimated; gives what was resolved.

    Only where the owner's heartbeat has expired and the reservation is older than the
    longest possible flight. At most `limit` at once, oldest first: repeat while it gives as
    many. A settle that comes after all books the difference. They are dated to when the flight
    must have ended, however late it is: a statement that covers now need not have them.
    """
    gone_ms = now_ms - heartbeat_expiry_ms
    rows = await tx.fetch(_ABANDONED, now_ms - longest_flight_ms, gone_ms, limit)
    # All reservations are taken before any balance is locked, and in the order of their
    # ids, so that neither a late settle nor another resolver can be waited for in a circle.
    taken = [await take(tx, reservation_id) for reservation_id in sorted(row["id"] for row in rows)]
    resolved = [held for held in taken if held is not None]
    await book_calls(
        tx,
        [(held, call_row(held, _UNKNOWN, held.made_ms + longest_flight_ms)) for held in resolved],
    )
    await tx.fetch(_FORGET, gone_ms)
    return resolved


async def settle_abandoned(
    tx: Transaction,
    by: Author,
    *,
    longest_flight_ms: int,
    heartbeat_expiry_ms: int,
    limit: int = 100,
) -> Sequence[OpenReservation]:
    """`resolve`, by whoever it is, and written to the audit where it settled anything."""
    resolved = await resolve(
        tx,
        now_ms=by.now_ms,
        longest_flight_ms=longest_flight_ms,
        heartbeat_expiry_ms=heartbeat_expiry_ms,
        limit=limit,
    )
    if resolved:
        booked_usd = usd(sum(held.ceiling_nanos for held in resolved))
        told = {"reservations": [held.id for held in resolved], "booked_usd": booked_usd}
        await append(tx, by, "ledger.resolve", "ledger", {}, told)
    return resolved


def _unresolved(row: Row) -> Unresolved:
    held = {name: row[name] for name in RESERVATION_COLUMNS}
    return Unresolved(OpenReservation(**held), row["heartbeat_ms"])
