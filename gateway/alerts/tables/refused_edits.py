"""Counts of the edits that a budget did not cover, by account and day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named, insert_rows
from gateway.model.windows import days_before

KEPT_DAYS = 7
_HEAD = "INSERT INTO refused_edits (account, day, edits)"
_ADD = "ON CONFLICT (account, day) DO UPDATE SET edits = refused_edits.edits + excluded.edits"


async def add(tx: Transaction, counts: Mapping[tuple[str, str], int]) -> None:
    """Add refusals, counted by account and day; forget those of days long past."""
    await insert_rows(tx, _HEAD, [(*where, edits) for where, edits in sorted(counts.items())], _ADD)
    oldest = days_before(max(day for _, day in counts), KEPT_DAYS)
    await tx.fetch("DELETE FROM refused_edits WHERE day < $1", oldest)


async def refused_on(tx: Transaction, day: str, accounts: Iterable[str]) -> Mapping[str, int]:
    """The number of edits refused on that day, of the accounts that have any."""
    sql = "SELECT account, edits FROM refused_edits WHERE day = $1 AND account IN {names}"
    return {row["account"]: row["edits"] for row in await fetch_named(tx, sql, accounts, day)}
