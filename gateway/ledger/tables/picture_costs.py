"""Picture costs: the highest known cost of one image, by upstream, model, quality, size and day.

Reservations use it, so a correction must lower it. Writers of a row lock it: a correction computes
the maximum again under that lock; later calls raise it. A cost above the amount reserved for it is
an overrun, kept apart: overruns alone raise ceilings that follow from a price table.
"""

from __future__ import annotations

from datetime import date, timedelta

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows
from gateway.model.reservation import PriceKey

SEEN_DAYS = 30

_ROW = "upstream = $1 AND model = $2 AND quality = $3 AND size = $4 AND day = $5"
_RAISE = "INSERT INTO picture_costs (upstream, model, quality, size, day, max_nanos, overrun_nanos)"
_IF_HIGHER = (
    "ON CONFLICT (upstream, model, quality, size, day) DO UPDATE SET "
    + ", ".join(
        f"{name} = CASE WHEN excluded.{name} > picture_costs.{name} "
        f"THEN excluded.{name} ELSE picture_costs.{name} END"
        for name in ("max_nanos", "overrun_nanos")
    )
    + " WHERE excluded.max_nanos > picture_costs.max_nanos "
    "OR excluded.overrun_nanos > picture_costs.overrun_nanos"
)
_LOWER = (
    "UPDATE picture_costs SET max_nanos = $6, overrun_nanos = "
    f"CASE WHEN overrun_nanos > $6 THEN $6 ELSE overrun_nanos END WHERE {_ROW}"
)
_LOCK = f"UPDATE picture_costs SET max_nanos = max_nanos WHERE {_ROW} RETURNING max_nanos"
# Rows without an upstream are of an earlier version, and hold for every quality and size.
_SEEN = (
    "SELECT MAX(max_nanos) AS seen, MAX(overrun_nanos) AS overrun FROM picture_costs "
    "WHERE model = $2 AND day >= $5 "
    "AND (upstream = '' OR (upstream = $1 AND quality = $3 AND size = $4))"
)
_LATEST = (
    "SELECT max_nanos FROM picture_costs "
    "WHERE upstream = $1 AND model = $2 AND quality = $3 AND size = $4 ORDER BY day DESC LIMIT 1"
)
# An estimate counts once it is corrected, but by a sum. Rounded up, as in `prices.per_image`.
_COUNT = """
SELECT CAST(MAX((l.cost_nanos + COALESCE(c.nanos, 0) + l.n - 1) / l.n) AS BIGINT) AS nanos
FROM ledger l LEFT JOIN (
  SELECT x.corrects, CAST(SUM(x.cost_nanos) AS BIGINT) AS nanos,
    SUM(CASE WHEN x.cost_kind = 'confirmed_by_sum' OR x.undoes = x.corrects THEN 0
      WHEN x.undoes = '' THEN 1 ELSE -1 END) AS known
  FROM ledger k JOIN ledger x ON x.corrects = k.id
  WHERE k.day = $5 AND k.model = $2 GROUP BY x.corrects
) c ON c.corrects = l.id
WHERE l.day = $5 AND l.upstream = $1 AND l.model = $2 AND l.quality = $3 AND l.size = $4
  AND l.kind = 'call' AND l.n > 0
  AND (l.estimated = 0 OR c.known > 0) AND l.cost_nanos + COALESCE(c.nanos, 0) > 0
"""


def seen_since(day: str) -> str:
    """The first day whose costs still count on this day."""
    return str(date.fromisoformat(day) - timedelta(days=SEEN_DAYS))


async def highest_cost(tx: Transaction, key: PriceKey, since_day: str) -> int | None:
    """The highest known cost of such an image since that day."""
    seen: int | None = (await tx.fetch(_SEEN, *key, since_day))[0]["seen"]
    return seen


async def highest_overrun(tx: Transaction, key: PriceKey, since_day: str) -> int | None:
    """The highest known cost of such an image that was above its ceiling, since that day."""
    overrun: int | None = (await tx.fetch(_SEEN, *key, since_day))[0]["overrun"]
    return overrun


async def latest_cost(tx: Transaction, key: PriceKey) -> int | None:
    """The highest known cost of such an image, on the last day on which one has a known cost."""
    rows = await tx.fetch(_LATEST, *key)
    return rows[0]["max_nanos"] if rows else None


async def raise_cost(
    tx: Transaction, key: PriceKey, day: str, nanos: int, overrun_nanos: int = 0
) -> None:
    """Record the cost of such an image on that day, and again if it was above its ceiling."""
    if nanos > 0:
        await insert_rows(tx, _RAISE, [(*key, day, nanos, overrun_nanos)], _IF_HIGHER)


async def recount_cost(tx: Transaction, key: PriceKey, day: str) -> None:
    """Compute that day's highest cost again from the ledger, after a correction."""
    exists = await tx.fetch(_LOCK, *key, day)
    nanos: int | None = (await tx.fetch(_COUNT, *key, day))[0]["nanos"]
    if exists and nanos is None:
        await tx.fetch(f"DELETE FROM picture_costs WHERE {_ROW}", *key, day)
    elif exists:
        await tx.fetch(_LOWER, *key, day, nanos)
    else:
        await raise_cost(tx, key, day, nanos or 0)
