"""`database`: an empty, migrated state on each engine in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.database.database import Database
from gateway.database.migrate import migrate
from gateway.database.postgres import PostgresDatabase
from gateway.database.sqlite import SqliteDatabase
from tests.support.engines import fresh_schema, postgres_url
from tests.support.schemas import Schemas

__all__ = ["postgres_url"]


def open_engine(url: str) -> Database:
    """The engine of a URL: `sqlite:PATH` or `postgresql://…`."""
    if url.startswith("sqlite:"):
        return SqliteDatabase(url.removeprefix("sqlite:"))
    return PostgresDatabase(url)


@pytest.fixture(scope="session")
def schemas(postgres_url: str) -> Schemas:
    return Schemas(postgres_url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a database of this test's own lies; several processes may open it.

    In PostgreSQL it is migrated if the test asks for `database`, else empty.
    """
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'state' / 'gateway.db'}"
    elif "database" in request.fixturenames:
        with request.getfixturevalue("schemas").lent() as url:
            yield url
    else:
        yield fresh_schema(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def empty_database(database_url: str) -> AsyncIterator[Database]:
    """A database without tables."""
    engine = open_engine(database_url)
    yield engine
    await engine.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with every migration applied."""
    engine = open_engine(database_url)
    await migrate(engine)
    yield engine
    await engine.close()
