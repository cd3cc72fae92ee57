"""How far the reports of each schedule are in the outbox.

One process at a time leases a schedule. What it writes has ids that follow from the report and its
recipient, so that a process that takes over after a crash repeats nothing.
"""

from __future__ import annotations

from gateway.database.database import Transaction

_BEGIN = (
    "INSERT INTO report_schedules (schedule, through_day) VALUES ($1, $2) "
    "ON CONFLICT (schedule) DO NOTHING"
)
_READ = "SELECT through_day FROM report_schedules WHERE schedule = $1"
_LEASE = (
    "UPDATE report_schedules SET leased_until_ms = $4 WHERE schedule = $1 AND through_day = $2 "
    "AND leased_until_ms <= $3 RETURNING schedule"
)
_RENEW = "UPDATE report_schedules SET leased_until_ms = $3 WHERE schedule = $1 AND through_day = $2"
_ADVANCE = (
    "UPDATE report_schedules SET through_day = $2, leased_until_ms = 0 "
    "WHERE schedule = $1 AND through_day < $2"
)


async def begin(tx: Transaction, schedule: str, through_day: str) -> None:
    """Begin a schedule: what ended by that day is not reported."""
    await tx.fetch(_BEGIN, schedule, through_day)


async def through_day(tx: Transaction, schedule: str) -> str | None:
    """The last day of the latest reports; None where the schedule has not begun."""
    rows = await tx.fetch(_READ, schedule)
    return str(rows[0]["through_day"]) if rows else None


async def lease(
    tx: Transaction, schedule: str, after_day: str, *, now_ms: int, until_ms: int
) -> bool:
    """Lease the reports after that day. False where another process has, or has written them."""
    return bool(await tx.fetch(_LEASE, schedule, after_day, now_ms, until_ms))


async def renew(tx: Transaction, schedule: str, after_day: str, *, until_ms: int) -> None:
    """Lengthen the lease of the reports after that day."""
    await tx.fetch(_RENEW, schedule, after_day, until_ms)


async def advance(tx: Transaction, schedule: str, last_day: str) -> None:
    """The reports through that day are in the outbox: end the lease."""
    await tx.fetch(_ADVANCE, schedule, last_day)
