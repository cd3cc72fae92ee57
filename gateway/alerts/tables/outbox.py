"""The outbox: alerts to post to a webhook.

Taking an alert leases it: if the process dies before it reports the result, the alert becomes
due again. An alert is therefore posted at least once, and twice only if a process dies between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from gateway.alerts.rules.thresholds import PassedThreshold
from gateway.alerts.tables.thresholds import ABOVE, NEAREST_URL, team_of
from gateway.database.database import Row, Transaction
from gateway.database.multirow import placeholders

# The condition is repeated: after waiting for a row lock, PostgreSQL checks the row again.
_TAKE = (
    "UPDATE warnings SET next_try_ms = $2, attempts = attempts + 1 WHERE next_try_ms <= $1 "
    "AND id IN (SELECT id FROM warnings WHERE next_try_ms <= $1 ORDER BY at_ms, id LIMIT $3) "
    "RETURNING id"
)
_DUE = (
    "SELECT w.account, w.period, w.first_day, w.limit_nanos, w.percent, w.id, w.at_ms, "
    "w.spent_nanos, w.held_nanos, w.resets_ms, w.refused, w.attempts, a.level, a.name, "
    f"COALESCE(p.name, '') AS parent, {NEAREST_URL} "
    f"FROM warnings w JOIN accounts a ON a.id = w.account {ABOVE}WHERE w.id IN "
)


@dataclass(frozen=True, slots=True)
class Due:
    """An alert to post now, for the `attempt`th time; `webhook_url` may be ""."""

    id: str
    passed: PassedThreshold
    at_ms: int
    attempt: int
    webhook_url: str


async def take_due(tx: Transaction, *, now_ms: int, lease_ms: int, limit: int) -> Sequence[Due]:
    """Lease alerts that are due, oldest first, for `lease_ms`."""
    taken = [row["id"] for row in await tx.fetch(_TAKE, now_ms, now_ms + lease_ms, limit)]
    if not taken:
        return ()
    order = " ORDER BY w.at_ms, w.account, w.percent"
    rows = await tx.fetch(_DUE + placeholders(len(taken)) + order, *taken)
    return [Due(row["id"], _passed(row), row["at_ms"], row["attempts"], row["url"]) for row in rows]


async def delivered(tx: Transaction, warning_id: str, now_ms: int) -> None:
    """Mark an alert as delivered."""
    await tx.fetch(
        "UPDATE warnings SET delivered_ms = $2, next_try_ms = NULL WHERE id = $1",
        *(warning_id, now_ms),
    )


async def postpone(tx: Transaction, due: Due, next_try_ms: int | None) -> None:
    """Set the next attempt, or none (None).

    Does nothing if the lease expired and another process took the alert.
    """
    await tx.fetch(
        "UPDATE warnings SET next_try_ms = $3 "
        "WHERE id = $1 AND attempts = $2 AND delivered_ms IS NULL",
        *(due.id, due.attempt, next_try_ms),
    )


def _passed(row: Row) -> PassedThreshold:
    names = (column.name for column in fields(PassedThreshold))
    columns = {name: row[name] for name in names if name != "team"}
    return PassedThreshold(**columns | {"team": team_of(row), "refused": bool(row["refused"])})
