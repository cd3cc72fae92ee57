"""End users: the people for whom a team's requests are made, told apart up to a number per team.

Above that number, new ones share the name OTHERS, and so one budget. Whoever adds one locks the
team's counter, before any roll-up or balance: the number holds over all processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable

from gateway.accounts.rules.end_users import OTHERS
from gateway.database.database import Transaction
from gateway.database.documents import first_document, read_document
from gateway.database.multirow import fetch_named, insert_rows

_SECRET = "end users"  # noqa: S105 - the name of a document
_KNOWN = "SELECT name FROM end_users WHERE team = $1 AND name IN {names}"
_COUNTED = "SELECT value FROM counters WHERE name = $1"
_LOCK = (
    "INSERT INTO counters (name, value) VALUES ($1, 0) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value RETURNING value"
)
_COUNT = "UPDATE counters SET value = value + $2 WHERE name = $1"
_ADD = "INSERT INTO end_users (team, name, first_ms)"


async def pseudonym_secret(tx: Transaction, now_ms: int) -> bytes:
    """The secret of this state's pseudonyms. A state without one gets one: for a write."""
    document = await first_document(tx, _SECRET, secrets.token_hex(32), now_ms)
    return bytes.fromhex(document.body)


async def kept_secret(tx: Transaction) -> bytes | None:
    """The secret of this state's pseudonyms; None if none was ever made."""
    found = await read_document(tx, _SECRET)
    return bytes.fromhex(found.body) if found else None


async def counted_as(tx: Transaction, team: str, name: str, most: int) -> str:
    """The name under which an end user's call would be booked now: its own, or OTHERS."""
    if not name or await _known(tx, team, [name]) or await _number(tx, team) < most:
        return name
    return OTHERS


async def enrol(
    tx: Transaction, team: str, names: Iterable[str], most: int, now_ms: int
) -> Collection[str]:
    """Tell these end users of a team apart, as far as its number permits.

    Returns those that are told apart; the others are OTHERS.
    """
    wanted = list(dict.fromkeys(filter(None, names)))
    known = await _known(tx, team, wanted)
    if len(known) == len(wanted) or await _number(tx, team) >= most:
        return known
    (counter,) = await tx.fetch(_LOCK, _counter(team))
    known = await _known(tx, team, wanted)  # another process may have added some
    room = max(0, most - counter["value"])
    new = [name for name in wanted if name not in known][:room]
    await insert_rows(tx, _ADD, [(team, name, now_ms) for name in new])
    await tx.fetch(_COUNT, _counter(team), len(new))
    return known | set(new)


async def lock_team(tx: Transaction, team: str) -> None:
    """Let no process add an end user of this team until the transaction ends."""
    await tx.fetch(_LOCK, _counter(team))


async def remove(tx: Transaction, team: str, names: Collection[str]) -> None:
    """Forget that these are end users of the team, whose counter is locked."""
    gone = await fetch_named(
        tx, "DELETE FROM end_users WHERE team = $1 AND name IN {names} RETURNING name", names, team
    )
    await tx.fetch(_COUNT, _counter(team), -len(gone))


async def _known(tx: Transaction, team: str, names: Iterable[str]) -> set[str]:
    return {row["name"] for row in await fetch_named(tx, _KNOWN, names, team)}


async def _number(tx: Transaction, team: str) -> int:
    rows = await tx.fetch(_COUNTED, _counter(team))
    return rows[0]["value"] if rows else 0


def _counter(team: str) -> str:
    return f"end_users:{team}"
