"""The last good model catalogue in the state, for the next start."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.database import documents
from gateway.database.clock import Clock
from gateway.database.database import Database, Transaction
from gateway.database.documents import Document


@dataclass(frozen=True, slots=True)
class StoredCatalogue:
    """The stored copy of one upstream's catalogue. Its methods raise StateUnavailable."""

    database: Database
    clock: Clock
    upstream: str

    async def load(self) -> bytes | None:
        async def read(tx: Transaction) -> Document | None:
            return await documents.read_document(tx, self._name)

        note = await self.database.read(read)
        return note.body.encode() if note else None

    async def save(self, body: bytes) -> None:
        at_ms = self.clock()

        async def write(tx: Transaction) -> None:
            await documents.save_document(tx, self._name, body.decode("utf-8"), at_ms)

        await self.database.write(write, urgent=False)

    @property
    def _name(self) -> str:
        return f"catalogue:{self.upstream}"
