"""Notes outlive the process that wrote them."""

from __future__ import annotations

from gateway.database.database import Database
from gateway.database.documents import Document, read_document, save_document
from tests.support.accounts import NOW, change, look
from tests.support.databases import open_engine


async def test_a_note_is_read_as_it_was_last_written(database: Database, database_url: str) -> None:
    await change(database, save_document, "catalogue", '{"data": []}', NOW)
    await change(database, save_document, "catalogue", '{"data": [1]}', NOW + 1)
    other = open_engine(database_url)
    assert await look(other, read_document, "catalogue") == Document('{"data": [1]}', NOW + 1)
    await other.close()


async def test_a_note_that_was_never_written_is_none(database: Database) -> None:
    assert await look(database, read_document, "catalogue") is None
