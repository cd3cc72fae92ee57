"""Model costs: the highest known cost of one image of a model, by day.

Reservations use it, so a correction must lower it. Writers of a model's day lock its row: a
correction computes the maximum again under that lock; later calls raise it.
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
# An estimate counts once it is corrected. Rounded up, as in `prices.per_image`.
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
    """The highest known cost of one image of this model since that day."""
    rows = await tx.fetch(
        "SELECT MAX(max_nanos) AS seen FROM model_costs WHERE model = $1 AND day >= $2",
        model,
        since_day,
    )
    seen: int | None = rows[0]["seen"]
    return seen


async def raise_cost(tx: Transaction, model: str, day: str, nanos: int) -> None:
    """Record the cost of one image of this model on that day."""
    if nanos > 0:
        await insert_rows(tx, _RAISE, [(model, day, nanos)], _IF_HIGHER)


async def recount_cost(tx: Transaction, model: str, day: str) -> None:
    """Compute that day's highest cost again from the ledger, after a correction."""
    exists = await tx.fetch(_LOCK, model, day)
    nanos: int | None = (await tx.fetch(_COUNT, model, day))[0]["nanos"]
    if exists and nanos is None:
        await tx.fetch("DELETE FROM model_costs WHERE model = $1 AND day = $2", model, day)
    elif exists:
        await tx.fetch(
            "UPDATE model_costs SET max_nanos = $3 WHERE model = $1 AND day = $2", model, day, nanos
        )
    else:
        await raise_cost(tx, model, day, nanos or 0)
