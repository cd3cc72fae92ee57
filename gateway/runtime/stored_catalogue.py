"""The last good model catalogue in the state, for the next start."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.database import documents
from gateway.database.clock import Clock
from gateway.database.database import Database


@dataclass(frozen=True, slots=True)
class StoredCatalogue:
    """The stored copy of one upstream's catalogue. Its methods raise StateUnavailable."""

    database: Database
    clock: Clock
    upstream: str

    async def load(self) -> bytes | None:
        name = f"catalogue:{self.upstream}"
        found = await self.database.read(lambda tx: documents.read_document(tx, name))
        return found.body.encode() if found else None

    async def save(self, body: bytes) -> None:
        name, text, at_ms = f"catalogue:{self.upstream}", body.decode("utf-8"), self.clock()
        await self.database.write(
            lambda tx: documents.save_document(tx, name, text, at_ms), urgent=False
        )
