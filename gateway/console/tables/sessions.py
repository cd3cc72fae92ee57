"""Sessions of the console, by the hash of their cookie, and the people whose they are.

Each is bound to a token, a key, or a person of single sign-on.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Transaction

_COLUMNS = "hash, credential, actor, begun_ms, ends_ms, person_groups"
PERSON = "person"
"""The credential of a session by single sign-on."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session; `credential` is the hash of the secret that signed in, `actor` its holder.

    By single sign-on, `credential` is PERSON, and `person_groups` JSON of the person's groups.
    """

    hash: str
    credential: str
    actor: str
    begun_ms: int
    ends_ms: int
    person_groups: str = "[]"


async def begin_session(tx: Transaction, session: SessionRecord, *, replaces: str) -> None:
    """Add a session in place of the one of the browser's last cookie; drop those that ended."""
    await tx.fetch(
        "DELETE FROM sessions WHERE hash = $1 OR ends_ms <= $2", replaces, session.begun_ms
    )
    await tx.fetch(
        f"INSERT INTO sessions ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)",
        *(session.hash, session.credential, session.actor, session.begun_ms, session.ends_ms),
        session.person_groups,
    )
    await tx.fetch(
        "INSERT INTO people (actor, signed_in_ms) VALUES ($1, $2) "
        "ON CONFLICT (actor) DO UPDATE SET signed_in_ms = excluded.signed_in_ms",
        *(session.actor, session.begun_ms),
    )
    by = Author(session.actor, session.begun_ms)
    await append(tx, by, "console.sign_in", session.actor, {}, {})


async def find_session(tx: Transaction, session_hash: str, now_ms: int) -> SessionRecord | None:
    """The session of a cookie's hash, unless it has ended."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM sessions WHERE hash = $1 AND ends_ms > $2", session_hash, now_ms
    )
    return SessionRecord(**rows[0]) if rows else None


async def end_session(tx: Transaction, session_hash: str, by: Author) -> None:
    """End the session of one cookie."""
    ended = await tx.fetch("DELETE FROM sessions WHERE hash = $1 RETURNING actor", session_hash)
    if ended:
        await append(tx, by, "console.sign_out", ended[0]["actor"], {}, {})


@dataclass(frozen=True, slots=True)
class VisitorRecord:
    """Who has signed in, when last, and in how many browsers they still are."""

    actor: str
    signed_in_ms: int
    sessions: int


async def list_people(tx: Transaction, now_ms: int, limit: int = 200) -> list[VisitorRecord]:
    """The last to sign in come first."""
    rows = await tx.fetch(
        "SELECT actor, signed_in_ms, (SELECT COUNT(*) FROM sessions WHERE "
        "sessions.actor = people.actor AND ends_ms > $1) AS sessions FROM people "
        "ORDER BY signed_in_ms DESC, actor LIMIT $2",
        *(now_ms, limit),
    )
    return [VisitorRecord(**row) for row in rows]


async def end_sessions_of(tx: Transaction, actor: str, by: Author) -> int:
    """End every session of one person. Returns their number."""
    ended = await tx.fetch("DELETE FROM sessions WHERE actor = $1 RETURNING hash", actor)
    if ended:
        await append(tx, by, "console.sign_out", actor, {}, {"sessions": len(ended)})
    return len(ended)
