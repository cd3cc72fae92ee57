"""Sessions of the console, by the hash of their cookie; each is bound to a token or a key."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Transaction

_COLUMNS = "hash, credential, actor, begun_ms, ends_ms"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session; `credential` is the hash of the secret that signed in, `actor` its holder."""

    hash: str
    credential: str
    actor: str
    begun_ms: int
    ends_ms: int


async def begin_session(tx: Transaction, session: SessionRecord, *, replaces: str) -> None:
    """Add a session in place of the one of the browser's last cookie; drop those that ended."""
    await tx.fetch(
        "DELETE FROM sessions WHERE hash = $1 OR ends_ms <= $2", replaces, session.begun_ms
    )
    await tx.fetch(
        f"INSERT INTO sessions ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5)",
        *(session.hash, session.credential, session.actor, session.begun_ms, session.ends_ms),
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
