"""Thresholds: budgets whose spending changed, and the alerts already sent for them.

The process that adds an alert's row sends it, so that exactly one process does. The row is also
its place in the outbox (`outbox.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.alerts.rules.thresholds import PassedThreshold
from gateway.database.database import Row, Transaction, Value
from gateway.database.multirow import fetch_named, insert_rows
from gateway.ledger.tables.balances import balances_of
from gateway.model.caller import ORGANISATION, Account
from gateway.model.reservation import Balance
from gateway.model.windows import TOTAL, days_before

_SNAPSHOT = (
    "SELECT c.value AS change, COALESCE((SELECT spent_nanos FROM balances "
    "WHERE account = 'organisation' AND day = 'total'), 0) AS spent_nanos, "
    "(SELECT COUNT(*) FROM warnings WHERE next_try_ms <= $1) "
    "+ (SELECT COUNT(*) FROM alerts WHERE next_try_ms <= $1) "
    "+ (SELECT COUNT(*) FROM mails WHERE next_try_ms <= $1) AS due "
    "FROM counters c WHERE c.name = 'changes'"
)
ABOVE = "LEFT JOIN accounts p ON p.id = a.parent JOIN accounts o ON o.id = 'organisation' "
"""Joins to `accounts a`: its parent, and the organisation."""
OWNER = "CASE a.level WHEN 'key' THEN p.owner ELSE a.owner END AS owner"
NEAREST_URL = "COALESCE(NULLIF(a.webhook_url, ''), NULLIF(p.webhook_url, ''), o.webhook_url) AS url"
_MOVING = (
    "SELECT a.id, b.spent_nanos, a.change, COALESCE(p.change, 0) AS above, o.change AS topmost "
    f"FROM accounts a JOIN balances b ON b.account = a.id AND b.day = 'total' {ABOVE}"
    "WHERE a.ended_ms IS NULL AND "
)
# Two queries, so that each has an index of few rows: keys without a budget are many.
_COUNTERS = (
    f"{_MOVING}a.budget_nanos IS NOT NULL UNION ALL "
    f"{_MOVING}a.budget_nanos IS NULL AND a.level = 'team'"
)
_SETTINGS = (
    "SELECT a.id, a.level, a.name, COALESCE(p.name, '') AS parent, "
    f"COALESCE(a.warn_percents, p.warn_percents, o.warn_percents) AS percents, {OWNER}, "
    f"{NEAREST_URL} "
    f"FROM accounts a {ABOVE}WHERE a.id IN {{names}}"
)
_NOTIFIED = (
    "SELECT account, period, first_day, limit_nanos, percent FROM warnings "
    "WHERE first_day >= $1 AND account IN {names}"
)
_CLAIM = (
    "INSERT INTO warnings (account, period, first_day, limit_nanos, percent, id, at_ms, "
    "spent_nanos, held_nanos, resets_ms, refused, next_try_ms)"
)

_LONGEST_WINDOW_DAYS = 31

GenerationCounters = tuple[int, int, int, int]
"""The total spending of an account, and the change numbers of it and of the accounts above it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Numbers that show whether anything needs a check."""

    change: int
    spent_nanos: int
    due: int


@dataclass(frozen=True, slots=True)
class MonitoredBudget:
    """An account: its balance, its alert settings, and the alerts already sent.

    `limit_nanos` None has no thresholds, `percents` None the default ones. `webhook_url` is the
    account's, else the team's, else the organisation's, or "". `notified` holds the thresholds
    already sent in this window at this limit.
    """

    balance: Balance
    limit_nanos: int | None
    first_day: str
    team: str
    owner: str
    percents: tuple[int, ...] | None
    webhook_url: str
    notified: frozenset[int]


@dataclass(frozen=True, slots=True)
class Claim:
    """An alert to send. `id` is new; `posted` is true if there is a webhook.

    Of thresholds that are passed at once, the `highest` alone is posted and mailed.
    """

    id: str
    passed: PassedThreshold
    posted: bool
    highest: bool = True


async def read_snapshot(tx: Transaction, now_ms: int) -> Snapshot:
    """Read the numbers that show whether a check is needed, by one small query."""
    row = (await tx.fetch(_SNAPSHOT, now_ms))[0]
    return Snapshot(row["change"], row["spent_nanos"], row["due"])


async def generation_counters(tx: Transaction) -> Mapping[str, GenerationCounters]:
    """The counters of the accounts that are monitored and have any spending."""
    return {
        row["id"]: (row["spent_nanos"], row["change"], row["above"], row["topmost"])
        for row in await tx.fetch(_COUNTERS)
    }


async def monitored_budgets(
    tx: Transaction, ids: Collection[str], day: str, zone: tzinfo
) -> Sequence[MonitoredBudget]:
    """The accounts among these that are monitored, with their balances on `day`.

    These are those with a budget, and all teams.
    """
    wanted = sorted(ids)
    since = days_before(day, _LONGEST_WINDOW_DAYS)
    settings = {row["id"]: row for row in await fetch_named(tx, _SETTINGS, wanted)}
    notified: dict[tuple[str, str, str, int | None], set[int]] = {}
    for row in await fetch_named(tx, _NOTIFIED, wanted, since):
        where = (row["account"], row["period"], row["first_day"], row["limit_nanos"])
        notified.setdefault(where, set()).add(row["percent"])
    accounts = [Account(row["id"], row["level"], row["name"]) for row in settings.values()]
    found: list[MonitoredBudget] = []
    for balance in await balances_of(tx, accounts, day, zone):
        limit, row = balance.limit_nanos, settings[balance.account.id]
        if limit is None and balance.account.level != "team":
            continue
        first_day = balance.window.first_day
        found.append(
            MonitoredBudget(
                balance=balance,
                limit_nanos=limit,
                first_day=first_day,
                team=team_of(row),
                owner=row["owner"],
                percents=None if row["percents"] is None else tuple(json.loads(row["percents"])),
                webhook_url=row["url"],
                notified=frozenset(
                    notified.get((balance.account.id, balance.period, first_day, limit), ())
                ),
            )
        )
    return found


async def claim(tx: Transaction, claims: Sequence[Claim], now_ms: int) -> Sequence[Claim]:
    """Add these alerts; returns those that were not there yet, for the caller to send."""
    ordered = sorted(claims, key=lambda each: (each.passed.account, each.passed.percent))
    rows = [_values(each, now_ms) for each in ordered]
    added = await insert_rows(tx, _CLAIM, rows, "ON CONFLICT DO NOTHING RETURNING id")
    claimed = {row["id"] for row in added}
    return [each for each in ordered if each.id in claimed]


async def delete_old(tx: Transaction, before_ms: int) -> None:
    """Delete alerts older than that, except for windows that never end."""
    await tx.fetch("DELETE FROM warnings WHERE at_ms < $1 AND period <> $2", before_ms, TOTAL)


def team_of(row: Row) -> str:
    """The team's name: of a team itself or of a key; "" for the organisation."""
    if row["level"] == ORGANISATION:
        return ""
    return str(row["name"] if row["level"] == "team" else row["parent"])


def _values(claim: Claim, now_ms: int) -> tuple[Value, ...]:
    passed = claim.passed
    return (
        passed.account, passed.period, passed.first_day, passed.limit_nanos, passed.percent,
        claim.id, now_ms, passed.spent_nanos, passed.held_nanos, passed.resets_ms,
        int(passed.refused), now_ms if claim.posted else None,
    )  # fmt: skip
