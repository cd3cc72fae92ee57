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


async def count_reservations(tx: Transaction, rule: Abandonment) -> ReservationCounts:
    """Count reservations; those of a dead process, or older than any call, are unresolved."""
    rows = await tx.fetch(_OPEN, rule.made_before_ms, rule.heartbeat_before_ms)
    return ReservationCounts(rows[0]["open"], rows[0]["unresolved"])
