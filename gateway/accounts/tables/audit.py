"""The audit: author, time, reason and values of every change, written in its transaction.

Changes are numbered by one counter, whose row stays locked until the commit, so that they become
visible in their order. Pollers read by that number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.accounts.rules.field_types import parse_text
from gateway.database.database import Transaction


@dataclass(frozen=True, slots=True)
class Author:
    """The author of a change, its time in unix milliseconds, and the reason if given."""

    actor: str
    now_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change; `old` and `new` hold what differed, by the names of the settings."""

    id: int
    at_ms: int
    actor: str
    action: str
    subject: str
    old: Mapping[str, object]
    new: Mapping[str, object]
    reason: str


async def next_change(tx: Transaction) -> int:
    """The number of this transaction's change; locks out other changes until the commit.

    Call it before reading the account to change. It stays the same until `append`.
    """
    rows = await tx.fetch(
        "UPDATE counters SET value = value WHERE name = 'changes' RETURNING value"
    )
    return int(rows[0]["value"]) + 1


async def append(
    tx: Transaction,
    by: Author,
    action: str,
    subject: str,
    old: Mapping[str, object],
    new: Mapping[str, object],
) -> int:
    """Add a row with what differs between `old` and `new`; gives the change's number.

    Raises BadValue for a reason that is no line of text.
    """
    reason = parse_text("reason", by.reason)
    change = await next_change(tx)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    await tx.fetch("UPDATE counters SET value = $1 WHERE name = 'changes'", change)
    await tx.fetch(
        "INSERT INTO audit (id, at_ms, actor, action, subject, old, new, reason) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *(change, by.now_ms, by.actor, action, subject),
        *(_document(old, names), _document(new, names), reason),
    )
    return change


async def list_audit(
    tx: Transaction,
    *,
    since_ms: int = 0,
    after: int = 0,
    subject: str | None = None,
    limit: int = 1000,
    latest: bool = False,
) -> Sequence[AuditRow]:
    """Changes made at `since_ms` or later and numbered above `after`, oldest first.

    With `latest`, the latest first, numbered below `after` where that is given.

    `subject` narrows it to "organisation", "team:NAME", "key:ID" or "token:ID".
    """
    place, order = "id > $2", "ORDER BY id"
    if latest:
        place, order = "(id < $2 OR $2 = 0)", "ORDER BY id DESC"
    rows = await tx.fetch(
        "SELECT id, at_ms, actor, action, subject, old, new, reason FROM audit "
        f"WHERE at_ms >= $1 AND {place} AND (subject = $3 OR $3 = '') {order} LIMIT $4",
        *(since_ms, after, subject or "", limit),
    )
    return [
        AuditRow(**{**row, "old": json.loads(row["old"]), "new": json.loads(row["new"])})
        for row in rows
    ]


def _document(facts: Mapping[str, object], names: Sequence[str]) -> str:
    document = {name: shown(name, facts[name]) for name in names if name in facts}
    return json.dumps(document, ensure_ascii=False)


def shown(name: str, value: object) -> object:
    """A setting's value without secrets: of a webhook's URL only scheme and host."""
    if name != "webhook_url" or not value:
        return value
    parts = urlsplit(str(value))
    return f"{parts.scheme}://{parts.hostname}/…"
