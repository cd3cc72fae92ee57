"""The rows of leases: which request makes an edit's upstream call, and how it ended.

They are written in the transactions that move money, before any balance is locked. What they
mean is decided in `coalescing.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.coalescing.rules.coalescing_key import FRESH
from gateway.coalescing.rules.lease import FlightFailure, Lease
from gateway.database.database import Row, Transaction
from gateway.database.multirow import placeholders

_CLAIM = (
    "INSERT INTO flights (key, id, owner_id, request_id, started_ms, until_ms) "
    "SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), "
    "CAST($5 AS BIGINT), CAST($6 AS BIGINT) "
    "WHERE NOT EXISTS (SELECT 1 FROM flights WHERE key = $7 AND ended_ms IS NULL) "
    "ON CONFLICT (key) DO NOTHING RETURNING id"
)
_END = (
    "UPDATE flights SET ended_ms = $3, until_ms = $4, code = $5, status = $6, message = $7, "
    "body = $8, aside = $9 WHERE key = $1 AND id = $2"
)
_REMEMBER = (
    "INSERT INTO flights (key, id, owner_id, request_id, started_ms, ended_ms, until_ms, code, "
    "status, message, body, aside) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
    "ON CONFLICT (key) DO UPDATE SET id = excluded.id, owner_id = excluded.owner_id, "
    "request_id = excluded.request_id, started_ms = excluded.started_ms, "
    "ended_ms = excluded.ended_ms, until_ms = excluded.until_ms, code = excluded.code, "
    "status = excluded.status, message = excluded.message, body = excluded.body, "
    "aside = excluded.aside "
    "WHERE flights.id = excluded.id OR flights.ended_ms IS NOT NULL "
    "OR flights.until_ms <= excluded.ended_ms"
)
_FINISHED = (
    "SELECT key, id, started_ms FROM flights WHERE ended_ms IS NOT NULL AND code = '' ORDER BY key"
)
_READ = (
    "SELECT f.key, f.id, f.owner_id, f.request_id, f.started_ms, f.ended_ms, f.until_ms, f.code, "
    "f.status, f.message, f.body, f.aside, o.heartbeat_ms "
    "FROM flights f LEFT JOIN owners o ON o.id = f.owner_id WHERE f.key IN "
)
_READ_AT_ONCE = 128
_NONE = FlightFailure("", 0, "")


async def claim(tx: Transaction, lease: Lease, unless_in_flight: str = "") -> bool:
    """Take the lease of a key that has none. False if it has one, whatever its status.

    It is not taken either while a flight of the key `unless_in_flight` is in progress.
    """
    taken = await tx.fetch(
        _CLAIM,
        *(lease.key, lease.id, lease.owner_id, lease.request_id, lease.started_ms),
        *(lease.until_ms, unless_in_flight),
    )
    return bool(taken)


async def read(tx: Transaction, keys: Sequence[str]) -> list[Lease]:
    """The leases of these keys, with their owners' heartbeats, in no order."""
    found: list[Lease] = []
    for start in range(0, len(keys), _READ_AT_ONCE):
        part = list(keys[start : start + _READ_AT_ONCE])
        # Filled up to a power of two: engines keep prepared statements by their text.
        part += part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))
        rows = await tx.fetch(_READ + placeholders(len(part)), *part)
        found.extend(_lease(row) for row in rows)
    return found


async def end(tx: Transaction, lease: Lease) -> None:
    """Write how a flight ended. Does nothing if another flight has taken the lease over."""
    failure = lease.failure or _NONE
    await tx.fetch(
        _END,
        *(lease.key, lease.id, lease.ended_ms, lease.until_ms),
        *(failure.code, failure.status, failure.message, failure.body, failure.extra_digest),
    )


async def remember(tx: Transaction, lease: Lease) -> None:
    """Keep a failure under the lease's key, unless a flight of that key is in progress."""
    failure = lease.failure or _NONE
    await tx.fetch(
        _REMEMBER,
        *(lease.key, lease.id, lease.owner_id, lease.request_id, lease.started_ms),
        *(lease.ended_ms, lease.until_ms),
        *(failure.code, failure.status, failure.message, failure.body, failure.extra_digest),
    )


async def forget(tx: Transaction, key: str) -> None:
    """Forget the failure of this edit, because it was bought."""
    await tx.fetch("DELETE FROM flights WHERE key = $1 AND code <> ''", key)


async def remove(tx: Transaction, key: str, lease_id: str) -> None:
    """Remove a lease, so that another flight can take it."""
    await tx.fetch("DELETE FROM flights WHERE key = $1 AND id = $2", key, lease_id)


async def purged(tx: Transaction, made_before_ms: Mapping[str, int]) -> None:
    """Remove the finished leases of results that were made before they were purged.

    A follower would wait for such a result in vain.
    """
    for row in await tx.fetch(_FINISHED):
        before_ms = made_before_ms.get(row["key"].removeprefix(FRESH))
        if before_ms is not None and row["started_ms"] < before_ms:
            await remove(tx, row["key"], row["id"])


async def sweep(tx: Transaction, before_ms: int) -> None:
    """Delete the leases that expired before then."""
    await tx.fetch("DELETE FROM flights WHERE until_ms < $1", before_ms)


def _lease(row: Row) -> Lease:
    failure = FlightFailure(row["code"], row["status"], row["message"], row["body"], row["aside"])
    return Lease(
        key=row["key"],
        id=row["id"],
        owner_id=row["owner_id"],
        request_id=row["request_id"],
        started_ms=row["started_ms"],
        until_ms=row["until_ms"],
        ended_ms=row["ended_ms"],
        failure=failure if failure.code else None,
        heartbeat_ms=row["heartbeat_ms"],
    )
