"""When a state was first used by version 2 of the fingerprint."""

from __future__ import annotations

from gateway.database.database import Transaction

_BEGIN = (
    "INSERT INTO counters (name, value) VALUES ('fingerprint_v2', CAST($1 AS BIGINT)) "
    "ON CONFLICT (name) DO NOTHING"
)
_BEGUN = "SELECT value FROM counters WHERE name = 'fingerprint_v2'"


async def upgraded_ms(tx: Transaction, now_ms: int) -> int:
    """The time of the upgrade, which is now if it is not recorded yet."""
    await tx.fetch(_BEGIN, now_ms)
    return int((await tx.fetch(_BEGUN))[0]["value"])
