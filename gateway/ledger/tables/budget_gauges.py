"""The values of the gauges of budgets and open reservations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.accounts.tables.accounts import COLUMNS, record_of
from gateway.database.database import Transaction
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables.balances import balances_of
from gateway.model.reservation import Balance

_BUDGETED = (
    f"SELECT {COLUMNS} FROM accounts WHERE level <> 'key' AND ended_ms IS NULL "
    "AND budget_nanos IS NOT NULL ORDER BY id"
)
_KEYS = (
    f"SELECT {COLUMNS} FROM accounts WHERE level = 'key' AND ended_ms IS NULL "
    "AND budget_nanos IS NOT NULL ORDER BY created_ms, id LIMIT $1"
)
_OPEN = (
    "SELECT COUNT(*) AS open, CAST(COALESCE(SUM("
    "CASE WHEN r.made_ms < $1 OR o.id IS NULL OR o.heartbeat_ms < $2 THEN 1 ELSE 0 END"
    "), 0) AS BIGINT) AS unresolved "
    "FROM reservations r LEFT JOIN owners o ON o.id = r.owner_id"
)


@dataclass(frozen=True, slots=True)
class ReservationCounts:
    """Counts of open reservations; no running call will settle the `unresolved` ones."""

    open: int
    unresolved: int


async def budget_balances(tx: Transaction, day: str, zone: tzinfo) -> Sequence[Balance]:
    """The balances of the organisation and the teams with a budget, in the windows of `day`."""
    accounts = [record_of(row).account for row in await tx.fetch(_BUDGETED)]
    return await balances_of(tx, accounts, day, zone)


async def key_budget_balances(
    tx: Transaction, day: str, zone: tzinfo, most: int
) -> Sequence[tuple[str, Balance]]:
    """The balances of the oldest keys with a budget, at most so many, each with its team."""
    records = [record_of(row) for row in await tx.fetch(_KEYS, most)]
    balances = await balances_of(tx, [record.account for record in records], day, zone)
    teams = ((record.parent or "").removeprefix("team:") for record in records)
    return list(zip(teams, balances, strict=True))


async def count_reservations(tx: Transaction, rule: Abandonment) -> ReservationCounts:
    """Count reservations; those of a dead process, or older than any call, are unresolved."""
    rows = await tx.fetch(_OPEN, rule.made_before_ms, rule.heartbeat_before_ms)
    return ReservationCounts(rows[0]["open"], rows[0]["unresolved"])
