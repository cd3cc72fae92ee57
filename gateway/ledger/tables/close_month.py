"""Closing a month: freezes its days for booking, and seals its contents.

Freezing is one short transaction. A second one reads the month and writes its digest, while
edits and their money go on. If a frozen month was not sealed, close it again to seal it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass, fields
from datetime import tzinfo
from hashlib import sha256

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Row, Transaction
from gateway.ledger.tables.closed_days import lock_closings
from gateway.ledger.tables.ledger_rows import STILL_ESTIMATED
from gateway.ledger.tables.reports import every_row
from gateway.model.caller import ORGANISATION
from gateway.model.money import usd
from gateway.model.units import time_text
from gateway.model.windows import TOTAL, days_before, month_days, start_ms

OVER_FOR_MS = 600_000
"""The time from a month's end until it can be closed: longer than any transaction."""
PAGE_ROWS = 5_000

_FROZEN = "period, first_day, last_day, timezone, closed_ms, closed_by, estimated_calls"
_LOCK_MONEY = (
    "INSERT INTO balances (account, day, spent_nanos, held_nanos, images, images_held) "
    "VALUES ($1, $2, 0, 0, 0, 0) "
    "ON CONFLICT (account, day) DO UPDATE SET spent_nanos = balances.spent_nanos"
)  # inserts and so locks the row, if there is none
_SEALED = (
    "id", "kind", "corrects", "at_ms", "day", "request_id", "upstream_request_id", "credential",
    "team", "key_id", "model", "route", "fingerprint", "reference_images", "body_bytes",
    "answer_bytes", "status", "n", "images", "cost_nanos", "estimated", "owner", "cost_centre",
    "tags", "late_for",
)  # fmt: skip
_SEALED_DIMENSIONS = (
    "team", "key_id", "model", "owner", "cost_centre", "tags", "outcome", "cause",
)  # fmt: skip
_SEALED_SUMS = (
    "calls", "errors", "saved_nanos", "paid_calls", "spent_nanos", "estimated_calls",
    "estimated_nanos", "corrections_nanos",
)  # fmt: skip
"""The columns in a month's digest, of rows and of roll-ups. Never change any of them, or closed
months fail verification. No end user is among them: one can be forgotten in a closed month."""
_HELD = (
    "SELECT COUNT(*) AS calls, CAST(SUM(ceiling_nanos) AS BIGINT) AS nanos "
    "FROM reservations WHERE day <= $1"
)
_ESTIMATED = (
    "SELECT COUNT(*) AS calls, CAST(SUM(l.cost_nanos) AS BIGINT) AS nanos FROM ledger l "
    f"WHERE {STILL_ESTIMATED} AND l.day >= $1 AND l.day <= $2"
)
_ROLL_UPS = (
    f"SELECT day, dimensions, {', '.join(_SEALED_DIMENSIONS)}, "
    + ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in _SEALED_SUMS)
    + " FROM rollups WHERE day <= $1 AND (day, dimensions) > ($2, $3) "
    f"GROUP BY day, dimensions, {', '.join(_SEALED_DIMENSIONS)} ORDER BY day, dimensions LIMIT $4"
)


class NotClosable(Exception):
    """The month cannot be closed yet; the message says what to do first."""


@dataclass(frozen=True, slots=True)
class MonthContents:
    """A month's contents. `digest` is over all ledger rows and all roll-ups."""

    ledger_rows: int
    spent_nanos: int
    corrections_nanos: int
    saved_nanos: int
    digest: str


_CONTENTS = tuple(column.name for column in fields(MonthContents))


@dataclass(frozen=True, slots=True)
class Closing:
    """A closed month. `contents` is None until it is sealed."""

    period: str
    first_day: str
    last_day: str
    timezone: str
    closed_ms: int
    closed_by: str
    estimated_calls: int
    contents: MonthContents | None


async def freeze(
    tx: Transaction, period: str, by: Author, zone: tzinfo, *, with_estimates: bool = False
) -> Closing:
    """Forbid booking in this month and all before it. Freezing again changes nothing.

    Raises NotClosable, and ValueError if `period` is not a month such as "2026-11".
    """
    first, last = month_days(period)
    through = await lock_closings(tx)
    if found := [each for each in await closings(tx) if each.period == period]:
        return found[0]
    _check_over(period, last, by.now_ms, zone)
    await _check_order(tx, period, first, through)
    await tx.fetch(_LOCK_MONEY, ORGANISATION, TOTAL)
    await _check_held(tx, period, last)
    estimated = await _check_estimates(tx, period, first, last, with_estimates)
    await tx.fetch(
        f"INSERT INTO closings ({_FROZEN}) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *(period, first, last, str(zone), by.now_ms, by.actor, estimated),
    )
    facts = {"estimated_calls": estimated, "timezone": str(zone)}
    await append(tx, by, "ledger.close", f"period:{period}", {}, facts)
    return Closing(period, first, last, str(zone), by.now_ms, by.actor, estimated, None)


def _check_over(period: str, last_day: str, now_ms: int, zone: tzinfo) -> None:
    from_ms = start_ms(days_before(last_day, -1), zone) + OVER_FOR_MS
    if now_ms < from_ms:
        raise NotClosable(f"the month is not over; it can be closed from {time_text(from_ms)} on")


async def _check_order(tx: Transaction, period: str, first: str, through: str | None) -> None:
    if through is not None and first <= through:
        raise NotClosable(f"a month after {period} is closed, and so is every day before it")
    rows = await tx.fetch(
        "SELECT MIN(day) AS day FROM rollups WHERE day > $1 AND day < $2", through or "", first
    )
    if earlier := rows[0]["day"]:
        raise NotClosable(f"months are closed in order: close {earlier[:7]} first")


async def _check_held(tx: Transaction, period: str, last_day: str) -> None:
    held = (await tx.fetch(_HELD, last_day))[0]
    if held["calls"]:
        raise NotClosable(
            f"${usd(held['nanos'])} is still held by {_calls(held)} of {period} or before; "
            "`gateway ledger resolve` settles those whose process is gone, and says of the "
            "others why not"
        )


async def _check_estimates(
    tx: Transaction, period: str, first: str, last: str, with_estimates: bool
) -> int:
    found = (await tx.fetch(_ESTIMATED, first, last))[0]
    if found["calls"] and not with_estimates:
        raise NotClosable(
            f"the cost of {_calls(found)} of {period} is only estimated, ${usd(found['nanos'])} in "
            "all: reconcile the month with the upstream's statement first, or close it with the "
            "estimates, which are then corrected in the next month"
        )
    return int(found["calls"])


def _calls(row: Row) -> str:
    return "1 call" if row["calls"] == 1 else f"{row['calls']} calls"


async def seal(tx: Transaction, period: str, contents: MonthContents) -> None:
    """Write the contents of a frozen month, once."""
    await tx.fetch(
        "UPDATE closings SET ledger_rows = $2, spent_nanos = $3, corrections_nanos = $4, "
        "saved_nanos = $5, digest = $6 WHERE period = $1 AND digest IS NULL",
        *(period, *astuple(contents)),
    )


async def closings(tx: Transaction) -> list[Closing]:
    """Every closed month, in order."""
    rows = await tx.fetch(
        f"SELECT {_FROZEN}, {', '.join(_CONTENTS)} FROM closings ORDER BY first_day"
    )
    return [_closing(row) for row in rows]


async def contents_of(tx: Transaction, closing: Closing) -> MonthContents:
    """Read the contents of a month, from all of its rows: for a read transaction."""
    digest, rows, spent, corrections, saved = sha256(), 0, 0, 0, 0
    async for row in every_row(tx, closing.first_day, closing.last_day):
        digest.update(_line(tuple(getattr(row, name) for name in _SEALED)))
        rows += 1
        spent += row.cost_nanos
        corrections += row.cost_nanos if row.kind == "correction" else 0
    async for sums in _roll_ups(tx, closing):
        digest.update(
            _line(tuple(sums[name] for name in ("day", *_SEALED_DIMENSIONS, *_SEALED_SUMS)))
        )
        saved += sums["saved_nanos"]
    return MonthContents(rows, spent, corrections, saved, digest.hexdigest())


def _line(values: tuple[object, ...]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def _roll_ups(tx: Transaction, closing: Closing) -> AsyncIterator[Row]:
    place = (closing.first_day, "")
    while True:
        page = await tx.fetch(_ROLL_UPS, closing.last_day, *place, PAGE_ROWS)
        for row in page:
            yield row
        if len(page) < PAGE_ROWS:
            return
        place = (page[-1]["day"], page[-1]["dimensions"])


def _closing(row: Row) -> Closing:
    found = {name: row[name] for name in _CONTENTS}
    facts = {name: row[name] for name in row if name not in found}
    return Closing(**facts, contents=MonthContents(**found) if row["digest"] else None)
