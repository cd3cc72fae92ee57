"""Unresolved reservations: money that a process held when it died.

Held money counts as spent until it is resolved, so a crash can lock money but never overspend.
Resolving never voids a reservation: the call may have been charged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Row, Transaction
from gateway.database.multirow import fetch_named, insert_rows
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables.booking import book_calls, call_row
from gateway.ledger.tables.ledger_rows import RESERVATION_COLUMNS, OpenReservation
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
_SILENT = (
    "SELECT o.id, o.host, o.pid, o.started_ms, "
    "(SELECT COUNT(*) FROM owners n WHERE n.host = o.host AND n.pid = o.pid "
    "AND n.started_ms > o.started_ms) AS successors FROM owners o "
    "WHERE o.heartbeat_ms < $1 AND EXISTS (SELECT 1 FROM reservations r WHERE r.owner_id = o.id)"
)
_HELD_BY = "SELECT id FROM reservations WHERE owner_id IN {names}"
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
class UnresolvedReservation:
    """An open reservation, and the last heartbeat of the process that holds it.

    `heartbeat_ms` is None if the process stopped properly or never sent a heartbeat.
    """

    held: OpenReservation
    heartbeat_ms: int | None

    def is_abandoned(self, rule: Abandonment) -> bool:
        return rule.applies(self.held.made_ms, self.heartbeat_ms)


async def beat(tx: Transaction, owner: Owner, now_ms: int) -> None:
    """Renew a process's heartbeat. `now_ms` is by the state's clock."""
    values = (owner.id, owner.host, owner.pid, owner.started_ms, now_ms)
    await insert_rows(tx, _BEAT, [values], _AGAIN)


async def retire(tx: Transaction, owner_id: str) -> None:
    """Remove a process that has stopped."""
    await tx.fetch("DELETE FROM owners WHERE id = $1", owner_id)


async def list_unresolved(tx: Transaction) -> list[UnresolvedReservation]:
    """Every open reservation, oldest first, those of calls in flight included."""
    return [_unresolved(row) for row in await tx.fetch(_OPEN)]


async def unresolved_of_request(
    tx: Transaction, request_id: str, key_id: str
) -> list[UnresolvedReservation]:
    """The open reservations of one request of this key, oldest first."""
    return [_unresolved(row) for row in await tx.fetch(_OF_REQUEST, request_id, key_id)]


async def silent_owners(tx: Transaction, rule: Abandonment) -> list[tuple[Owner, bool]]:
    """Processes without a heartbeat that hold money; True if a later one has the same host and pid.

    One process at a time can have a pid of a host: the earlier one has certainly ended.
    """
    rows = await tx.fetch(_SILENT, rule.heartbeat_before_ms)
    return [
        (Owner(row["id"], row["host"], row["pid"], row["started_ms"]), row["successors"] > 0)
        for row in rows
    ]


async def settle_abandoned(
    tx: Transaction, rule: Abandonment, *, ended: Collection[str] = (), limit: int = 100
) -> Sequence[OpenReservation]:
    """Settle abandoned reservations at their ceilings, marked estimated; returns those settled.

    All those of the processes `ended`, which have certainly ended, and at most `limit` of others,
    oldest first: call again while it returns as many. A settlement that arrives later books the
    difference. The ledger rows are dated to the latest end of the call, not to now: a statement
    that covers now need not list the call.
    """
    rows = await tx.fetch(_ABANDONED, rule.made_before_ms, rule.heartbeat_before_ms, limit)
    rows = [*rows, *await fetch_named(tx, _HELD_BY, ended)]
    # All reservations are taken before any balance is locked, and in the order of their
    # ids, so that no two transactions wait for each other.
    taken = [
        await take(tx, reservation_id) for reservation_id in sorted({row["id"] for row in rows})
    ]
    settled = [held for held in taken if held is not None]
    await book_calls(
        tx,
        [
            (held, await call_row(tx, held, _UNKNOWN, held.made_ms + rule.longest_flight_ms))
            for held in settled
        ],
    )
    await tx.fetch(_FORGET, rule.heartbeat_before_ms)
    return settled


async def resolve(
    tx: Transaction,
    by: Author,
    rule: Abandonment,
    *,
    ended: Collection[str] = (),
    limit: int = 100,
) -> Sequence[OpenReservation]:
    """`settle_abandoned`, with an entry in the audit if anything was settled."""
    settled = await settle_abandoned(tx, rule, ended=ended, limit=limit)
    if settled:
        booked_usd = usd(sum(held.ceiling_nanos for held in settled))
        facts = {"reservations": [held.id for held in settled], "booked_usd": booked_usd}
        await append(tx, by, "ledger.resolve", "ledger", {}, facts)
    return settled


def _unresolved(row: Row) -> UnresolvedReservation:
    held = {name: row[name] for name in RESERVATION_COLUMNS}
    return UnresolvedReservation(OpenReservation(**held), row["heartbeat_ms"])
