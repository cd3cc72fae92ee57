"""How everybody's budgets and reservations stand, for those who watch over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.accounts.tables.account_rows import COLUMNS, record_of
from gateway.database.database import Transaction
from gateway.ledger.tables.balances import balances_of
from gateway.model.reservation import Balance

_BUDGETED = (
    f"SELECT {COLUMNS} FROM accounts WHERE level <> 'key' AND ended_ms IS NULL "
    "AND budget_nanos IS NOT NULL ORDER BY id"
)
_OPEN = (
    "SELECT COUNT(*) AS number, CAST(COALESCE(SUM("
    "CASE WHEN r.made_ms < $1 OR o.id IS NULL OR o.heartbeat_ms < $2 THEN 1 ELSE 0 END"
    "), 0) AS BIGINT) AS unresolved "
    "FROM reservations r LEFT JOIN owners o ON o.id = r.owner_id"
)


@dataclass(frozen=True, slots=True)
class Held:
    """How many reservations are open; `unresolved` those that no living flight will settle."""

    number: int
    unresolved: int


async def budgeted(tx: Transaction, day: str, zone: tzinfo) -> Sequence[Balance]:
    """The organisation and the teams that have a budget, in their windows that hold `day`."""
    accounts = [record_of(row).account for row in await tx.fetch(_BUDGETED)]
    return await balances_of(tx, accounts, day, zone)


async def count_held(
    tx: Transaction, *, now_ms: int, longest_flight_ms: int, heartbeat_expiry_ms: int
) -> Held:
    """The open reservations: those of a dead process, or older than any call, are unresolved."""
    rows = await tx.fetch(_OPEN, now_ms - longest_flight_ms, now_ms - heartbeat_expiry_ms)
    return Held(rows[0]["number"], rows[0]["unresolved"])
