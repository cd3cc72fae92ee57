"""Announcements: which results were bought anew or purged, so that copies of them go.

They are numbered in the order in which they become visible: a poller misses none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows

_NEXT = "UPDATE counters SET value = value + 1 WHERE name = 'announcements' RETURNING value"
_SAY = "INSERT INTO announcements (number, key, at_ms, announced_ms)"
_LATEST = "SELECT value FROM counters WHERE name = 'announcements'"
_NEWS = (
    "SELECT number, key, at_ms FROM announcements WHERE number > $1 AND number <= $2 "
    "ORDER BY number"
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A result of which copies made before `at_ms` are no longer to be served."""

    key: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class News:
    """What was announced since, and the number to ask from the next time."""

    number: int
    replaced: Sequence[Replaced] = ()


async def announce(tx: Transaction, replaced: Sequence[Replaced], now_ms: int) -> None:
    """Tell every process, in one announcement; to be called once the results themselves are
    replaced or gone."""
    newest = {each.key: each for each in sorted(replaced, key=lambda each: each.at_ms)}
    if not newest:
        return
    number = (await tx.fetch(_NEXT))[0]["value"]
    rows = [(number, each.key, each.at_ms, now_ms) for each in newest.values()]
    await insert_rows(tx, _SAY, rows)


async def news_since(tx: Transaction, number: int) -> News:
    """What was announced after that number. One small SELECT where there is nothing.

    Where the state's own number is lower (a backup was restored), everything that is kept.
    """
    latest = (await tx.fetch(_LATEST))[0]["value"]
    if latest == number:
        return News(latest)
    rows = await tx.fetch(_NEWS, number if latest > number else 0, latest)
    return News(latest, [Replaced(row["key"], row["at_ms"]) for row in rows])


async def sweep(tx: Transaction, before_ms: int) -> None:
    """Drop what was announced before then."""
    await tx.fetch("DELETE FROM announcements WHERE announced_ms < $1", before_ms)
