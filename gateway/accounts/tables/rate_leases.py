"""Request rates: the requests of each minute that all processes have leased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.database.database import Transaction
from gateway.database.multirow import placeholders

# `granted` keeps what the last lease got, because RETURNING sees only the row as it is now.
_LEASE = """
INSERT INTO rate_minutes (account, minute, used, granted)
VALUES ($1, $2, CAST($3 AS BIGINT), CAST($3 AS BIGINT))
ON CONFLICT (account, minute) DO UPDATE SET
  used = rate_minutes.used + CASE
    WHEN rate_minutes.used + CAST($4 AS BIGINT) <= CAST($5 AS BIGINT) THEN CAST($4 AS BIGINT)
    WHEN rate_minutes.used < CAST($5 AS BIGINT) THEN CAST($5 AS BIGINT) - rate_minutes.used
    ELSE 0 END,
  granted = CASE
    WHEN rate_minutes.used + CAST($4 AS BIGINT) <= CAST($5 AS BIGINT) THEN CAST($4 AS BIGINT)
    WHEN rate_minutes.used < CAST($5 AS BIGINT) THEN CAST($5 AS BIGINT) - rate_minutes.used
    ELSE 0 END
RETURNING used, granted
"""


@dataclass(frozen=True, slots=True)
class RateLease:
    """The granted requests, and those that all processes have leased of this minute."""

    granted: int
    leased: int


async def lease(tx: Transaction, account: str, minute: int, want: int, limit: int) -> RateLease:
    """Lease up to `want` requests of this account's minute, at most `limit` in all.

    Nothing is given back, so the limit holds for any number of processes. Lease in the order
    organisation, team, key.
    """
    if want < 1 or limit < 0:
        raise ValueError(f"cannot lease {want} requests of a limit of {limit}")
    rows = await tx.fetch(_LEASE, account, minute, min(want, limit), want, limit)
    return RateLease(granted=rows[0]["granted"], leased=rows[0]["used"])


async def leased(tx: Transaction, accounts: Sequence[str], minute: int) -> Mapping[str, int]:
    """The requests of this minute that all processes have leased, by account."""
    rows = await tx.fetch(
        "SELECT account, used FROM rate_minutes WHERE minute = $1 AND account IN "
        + placeholders(len(accounts), 2),
        minute,
        *accounts,
    )
    return {row["account"]: row["used"] for row in rows}


async def sweep(tx: Transaction, before_minute: int) -> None:
    """Delete the counters of earlier minutes."""
    await tx.fetch("DELETE FROM rate_minutes WHERE minute < $1", before_minute)
