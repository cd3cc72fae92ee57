"""What has been booked since the first booking, for metrics: a chart subtracts two readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.database.database import Transaction

_GROUPS = "team, key_id, model, cause"
_SUMS = f"""
SELECT {_GROUPS}, CAST(SUM(spent_nanos) AS BIGINT) AS spent_nanos,
  CAST(SUM(estimated_nanos) AS BIGINT) AS estimated_nanos,
  CAST(SUM(saved_nanos) AS BIGINT) AS saved_nanos, CAST(SUM(images) AS BIGINT) AS images,
  MIN(day) AS first_day
FROM rollups WHERE day >= $1 AND day < $2
  AND (spent_nanos <> 0 OR corrections_nanos <> 0 OR saved_nanos <> 0 OR images <> 0)
GROUP BY {_GROUPS} ORDER BY {_GROUPS}
"""


@dataclass(frozen=True, slots=True)
class MoneySums:
    """Sums of one team, key, model and cause of saving. Money paid has no cause.

    Days on which nothing was paid or saved are left out, those corrected to nothing are not.
    """

    team: str
    key_id: str
    model: str
    cause: str
    spent_nanos: int
    estimated_nanos: int
    saved_nanos: int
    images: int
    first_day: str


async def money_sums(tx: Transaction, from_day: str, before_day: str) -> Sequence[MoneySums]:
    """The sums of these days, without `before_day`."""
    return [MoneySums(**row) for row in await tx.fetch(_SUMS, from_day, before_day)]


async def key_names(tx: Transaction) -> Mapping[str, str]:
    """The name of every key by its id, revoked keys included."""
    rows = await tx.fetch("SELECT id, name FROM accounts WHERE level = 'key'")
    return {row["id"].removeprefix("key:"): row["name"] for row in rows}


async def first_booking_ms(tx: Transaction) -> int | None:
    """When the first row of the ledger was booked; None while it is empty."""
    rows = await tx.fetch("SELECT at_ms FROM ledger ORDER BY day, at_ms, id LIMIT 1")
    return rows[0]["at_ms"] if rows else None
