"""Outages: the latest one of each upstream. Of several processes one begins it, and one ends it."""

from __future__ import annotations

from gateway.alerts.rules.outages import Outage
from gateway.database.database import Transaction

_BEGIN = (
    "INSERT INTO outages (upstream, since_ms, code) VALUES ($1, $2, $3) "
    "ON CONFLICT (upstream) DO UPDATE SET since_ms = excluded.since_ms, code = excluded.code, "
    "ended_ms = NULL WHERE outages.ended_ms < excluded.since_ms RETURNING upstream"
)
_END = (
    "UPDATE outages SET ended_ms = $2 WHERE upstream = $1 AND ended_ms IS NULL "
    "AND since_ms <= $2 RETURNING since_ms, code"
)


async def begin(tx: Transaction, outage: Outage) -> Outage | None:
    """Write that an upstream is down. None if that is known, or was over by then."""
    begun = await tx.fetch(_BEGIN, outage.upstream, outage.since_ms, outage.code)
    return outage if begun else None


async def end(tx: Transaction, upstream: str, now_ms: int) -> Outage | None:
    """Write that an upstream answers; returns its outage, if there was one."""
    for row in await tx.fetch(_END, upstream, now_ms):
        return Outage(upstream, row["since_ms"], row["code"], now_ms)
    return None
