"""Small documents that survive a restart, such as the last valid model catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.database.database import Transaction


@dataclass(frozen=True, slots=True)
class Document:
    """A document and the time of writing."""

    body: str
    at_ms: int


async def save_document(tx: Transaction, name: str, body: str, now_ms: int) -> None:
    """Write a document, replacing an earlier one of that name."""
    await tx.fetch(
        "INSERT INTO notes (name, body, at_ms) VALUES ($1, $2, $3) ON CONFLICT (name) "
        "DO UPDATE SET body = excluded.body, at_ms = excluded.at_ms",
        *(name, body, now_ms),
    )


async def first_document(tx: Transaction, name: str, body: str, now_ms: int) -> Document:
    """The document of that name, which is this one if there is none yet."""
    await tx.fetch(
        "INSERT INTO notes (name, body, at_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        *(name, body, now_ms),
    )
    return await read_document(tx, name) or Document(body, now_ms)


async def read_document(tx: Transaction, name: str) -> Document | None:
    """The document of that name, or None."""
    rows = await tx.fetch("SELECT body, at_ms FROM notes WHERE name = $1", name)
    return Document(rows[0]["body"], rows[0]["at_ms"]) if rows else None
