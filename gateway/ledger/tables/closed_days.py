"""Closed days: months are closed in order, so one last day is enough.

A transaction that books in a past day locks the closings first, so that no month is closed
meanwhile. Paid calls need no lock: they book in today, which cannot be closed.
"""

from __future__ import annotations

from gateway.database.database import Transaction
from gateway.model.windows import days_before

_LOCK = "UPDATE counters SET value = value WHERE name = 'closings' RETURNING value"
_THROUGH = "SELECT MAX(last_day) AS day FROM closings"


async def closed_through(tx: Transaction) -> str | None:
    """The last closed day, or None."""
    day: str | None = (await tx.fetch(_THROUGH))[0]["day"]
    return day


async def lock_closings(tx: Transaction) -> str | None:
    """The last closed day, which cannot change until this transaction ends.

    Lock before any row of the ledger, a roll-up or a balance.
    """
    await tx.fetch(_LOCK)
    return await closed_through(tx)


def open_day(day: str, through: str | None) -> str:
    """The day itself, or the first open day if it is closed."""
    return day if through is None or day > through else days_before(through, -1)
