"""The outbox: alerts to post to a webhook. Those of budgets are rows of `warnings`.

Taking an alert leases it: if the process dies before it reports the result, the alert becomes
due again. An alert is therefore posted at least once, and twice only if a process dies between.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from gateway.alerts.rules.channels import REPORT
from gateway.alerts.rules.thresholds import PassedThreshold
from gateway.alerts.tables.thresholds import ABOVE, NEAREST_URL, OWNER, team_of
from gateway.database.database import Row, Transaction
from gateway.database.multirow import fetch_named
from gateway.model.caller import ORGANISATION

# The condition is repeated: after waiting for a row lock, PostgreSQL checks the row again.
_TAKE = (
    "UPDATE {table} SET next_try_ms = $2, attempts = attempts + 1 WHERE next_try_ms <= $1 "
    "AND id IN (SELECT id FROM {table} WHERE next_try_ms <= $1 ORDER BY at_ms, id LIMIT $3) "
    "RETURNING id"
)
_DUE_WARNINGS = (
    "SELECT w.account, w.period, w.first_day, w.limit_nanos, w.percent, w.id, w.at_ms, "
    "w.spent_nanos, w.held_nanos, w.resets_ms, w.refused, w.attempts, a.level, a.name, "
    f"COALESCE(p.name, '') AS parent, {OWNER}, {NEAREST_URL} "
    f"FROM warnings w JOIN accounts a ON a.id = w.account {ABOVE}WHERE w.id IN {{names}} "
    "ORDER BY w.at_ms, w.account, w.percent"
)
# A team's report goes to the team's own webhook, the organisation's to that of `[reports]`.
_DUE_ALERTS = (
    f"SELECT w.id, w.at_ms, w.event, w.facts, w.account, w.attempts, {NEAREST_URL}, "
    "CASE a.level WHEN 'team' THEN a.webhook_url ELSE '' END AS report_url "
    f"FROM alerts w JOIN accounts a ON a.id = w.account {ABOVE}WHERE w.id IN {{names}} "
    "ORDER BY w.at_ms, w.id"
)
_ADD = (
    "INSERT INTO alerts (id, at_ms, event, facts, account, next_try_ms) SELECT CAST($1 AS TEXT), "
    "CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), "
    "CASE WHEN CAST($6 AS TEXT) <> '' OR url <> '' THEN CAST($2 AS BIGINT) END "
    f"FROM (SELECT {NEAREST_URL} FROM accounts a {ABOVE}WHERE a.id = $5) nearest WHERE 1 = 1 "
    "ON CONFLICT (id) DO NOTHING RETURNING id"
)
_ADD_REPORT = (
    "INSERT INTO alerts (id, at_ms, event, facts, account, next_try_ms) "
    "VALUES ($1, $2, $3, $4, $5, $2) ON CONFLICT (id) DO NOTHING"
)
KEPT_MS = 100 * 86_400_000

Table = Literal["warnings", "alerts", "mails"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Anything but a budget's threshold: the event, and all facts of its post, `text` too.

    `id` is new, or follows from the occasion. It goes to the webhook of the account.
    """

    id: str
    event: str
    facts: Mapping[str, object]
    account: str = ORGANISATION

    @property
    def is_report(self) -> bool:
        return self.event.startswith(REPORT)


@dataclass(frozen=True, slots=True)
class Due:
    """An alert to post now, for the `attempt`th time; `webhook_url` may be ""."""

    id: str
    content: PassedThreshold | Alert
    at_ms: int
    attempt: int
    webhook_url: str

    @property
    def table(self) -> Table:
        return "alerts" if isinstance(self.content, Alert) else "warnings"


async def add(tx: Transaction, alert: Alert, now_ms: int, *, default_url: str) -> bool:
    """Add an alert, to be posted if its account has a webhook or there is a default.

    False, and nothing added, if there is one of this id.
    """
    await tx.fetch("DELETE FROM alerts WHERE at_ms < $1", now_ms - KEPT_MS)
    facts = json.dumps(alert.facts)
    values = (alert.id, now_ms, alert.event, facts, alert.account, default_url)
    return bool(await tx.fetch(_ADD, *values))


async def add_report(tx: Transaction, report: Alert, now_ms: int) -> None:
    """Add a report to post; one of a known id is left as it is."""
    facts = json.dumps(report.facts)
    await tx.fetch(_ADD_REPORT, report.id, now_ms, report.event, facts, report.account)


async def take(
    tx: Transaction, table: Table, most: int, *, now_ms: int, lease_ms: int
) -> Sequence[str]:
    """Lease rows of a table that are due, oldest first; their ids."""
    taken = await tx.fetch(_TAKE.format(table=table), now_ms, now_ms + lease_ms, most)
    return [row["id"] for row in taken]


async def take_due(tx: Transaction, *, now_ms: int, lease_ms: int, limit: int) -> Sequence[Due]:
    """Lease alerts that are due, oldest first of each table, for `lease_ms`."""
    lease = functools.partial(take, tx, now_ms=now_ms, lease_ms=lease_ms)
    warnings = await lease("warnings", limit)
    alerts = await lease("alerts", limit - len(warnings))
    found = [
        Due(row["id"], _passed(row), row["at_ms"], row["attempts"], row["url"])
        for row in await fetch_named(tx, _DUE_WARNINGS, warnings)
    ]
    for row in await fetch_named(tx, _DUE_ALERTS, alerts):
        alert = Alert(row["id"], row["event"], json.loads(row["facts"]), row["account"])
        url = row["report_url"] if alert.is_report else row["url"]
        found.append(Due(row["id"], alert, row["at_ms"], row["attempts"], url))
    return found


async def delivered(tx: Transaction, due: Due, now_ms: int) -> None:
    """Mark an alert as delivered."""
    await mark_delivered(tx, due.table, due.id, now_ms)


async def postpone(tx: Transaction, due: Due, next_try_ms: int | None) -> None:
    """Set the next attempt, or none (None).

    Does nothing if the lease expired and another process took the alert.
    """
    await set_next_try(tx, due.table, due.id, due.attempt, next_try_ms)


async def mark_delivered(tx: Transaction, table: Table, row_id: str, now_ms: int) -> None:
    await tx.fetch(
        f"UPDATE {table} SET delivered_ms = $2, next_try_ms = NULL WHERE id = $1",
        *(row_id, now_ms),
    )


async def set_next_try(
    tx: Transaction, table: Table, row_id: str, attempt: int, next_try_ms: int | None
) -> None:
    """Does nothing if another attempt was begun, or succeeded."""
    await tx.fetch(
        f"UPDATE {table} SET next_try_ms = $3 "
        "WHERE id = $1 AND attempts = $2 AND delivered_ms IS NULL",
        *(row_id, attempt, next_try_ms),
    )


def _passed(row: Row) -> PassedThreshold:
    names = (column.name for column in fields(PassedThreshold))
    columns = {name: row[name] for name in names if name != "team"}
    return PassedThreshold(**columns | {"team": team_of(row), "refused": bool(row["refused"])})
