"""Which days are closed: months are closed in their order, so one day tells.

Whoever books in a day that is over locks the closings first, so that no month is closed
meanwhile. Paid calls don't: they book in today, which nobody can close.
"""

from __future__ import annotations

from gateway.database.database import Transaction
from gateway.model.windows import days_before

_LOCK = "UPDATE counters SET value = value WHERE name = 'closings' RETURNING value"
_THROUGH = "SELECT MAX(last_day) AS day FROM closings"


async def closed_through(tx: Transaction) -> str | None:
    """The last day that is closed; None where none is."""
    day: str | None = (await tx.fetch(_THROUGH))[0]["day"]
    return day


async def lock_closings(tx: Transaction) -> str | None:
    """The last day that is closed, which stays so until this transaction ends.

    Before any row of the ledger, a roll-up or a balance is locked.
    """
    await tx.fetch(_LOCK)
    return await closed_through(tx)


def open_day(day: str, through: str | None) -> str:
    """The day itself, or the first open one where it is closed."""
    return day if through is None or day > through else days_before(through, -1)
