"""Seen costs: the most that one picture of a model is known to have cost, by day.

Calls are reserved at what was seen, so a cost that is corrected must be forgotten. Writers
of a model's day take turns on its row: whoever lowers it counts again under that lock, and
sees the calls of everybody who had it before; whoever comes after finds it and raises it.
"""

from __future__ import annotations

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows

_RAISE = "INSERT INTO model_costs (model, day, max_nanos)"
_IF_HIGHER = (
    "ON CONFLICT (model, day) DO UPDATE SET max_nanos = excluded.max_nanos "
    "WHERE excluded.max_nanos > model_costs.max_nanos"
)
_LOCK = (
    "UPDATE model_costs SET max_nanos = max_nanos WHERE model = $1 AND day = $2 RETURNING max_nanos"
)
# An estimate is no cost that was seen, until a correction says what it is. Rounded up, as in
# `prices.per_image`.
_COUNT = """
SELECT CAST(MAX((l.cost_nanos + COALESCE(c.nanos, 0) + l.n - 1) / l.n) AS BIGINT) AS nanos
FROM ledger l LEFT JOIN (
  SELECT x.corrects, CAST(SUM(x.cost_nanos) AS BIGINT) AS nanos
  FROM ledger k JOIN ledger x ON x.corrects = k.id
  WHERE k.day = $2 AND k.model = $1 GROUP BY x.corrects
) c ON c.corrects = l.id
WHERE l.day = $2 AND l.model = $1 AND l.kind = 'call' AND l.n > 0
  AND (l.estimated = 0 OR c.corrects IS NOT NULL) AND l.cost_nanos + COALESCE(c.nanos, 0) > 0
"""


async def highest_cost(tx: Transaction, model: str, since_day: str) -> int | None:
    """The highest known cost of one picture of this model since that day."""
    rows = await tx.fetch(
        "SELECT MAX(max_nanos) AS seen FROM model_costs WHERE model = $1 AND day >= $2",
        model,
        since_day,
    )
    seen: int | None = rows[0]["seen"]
    return seen


async def raise_cost(tx: Transaction, model: str, day: str, nanos: int) -> None:
    """A picture of this model cost so much that day."""
    if nanos > 0:
        await insert_rows(tx, _RAISE, [(model, day, nanos)], _IF_HIGHER)


async def recount_cost(tx: Transaction, model: str, day: str) -> None:
    """A known cost has changed: count that day's highest again, from the ledger."""
    there = await tx.fetch(_LOCK, model, day)
    nanos: int | None = (await tx.fetch(_COUNT, model, day))[0]["nanos"]
    if there and nanos is None:
        await tx.fetch("DELETE FROM model_costs WHERE model = $1 AND day = $2", model, day)
    elif there:
        await tx.fetch(
            "UPDATE model_costs SET max_nanos = $3 WHERE model = $1 AND day = $2", model, day, nanos
        )
    else:
        await raise_cost(tx, model, day, nanos or 0)
