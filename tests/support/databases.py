"""`database`: an empty, migrated state on each engine in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from gateway.database.database import Database
from gateway.database.migrate import known_migrations, migrate
from gateway.database.postgres import PostgresDatabase
from gateway.database.sqlite import SqliteDatabase
from tests.support.engines import execute, fresh_schema, postgres_url

__all__ = ["postgres_url"]


def open_engine(url: str) -> Database:
    """The engine of a URL: `sqlite:PATH` or `postgresql://…`."""
    if url.startswith("sqlite:"):
        return SqliteDatabase(url.removeprefix("sqlite:"))
    return PostgresDatabase(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database of this test's own lies; several processes may open it."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'state' / 'gateway.db'}"
    return fresh_schema(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def empty_database(database_url: str) -> AsyncIterator[Database]:
    """A database without tables."""
    engine = open_engine(database_url)
    yield engine
    await engine.close()


@pytest.fixture
async def database(empty_database: Database, database_url: str) -> Database:
    """A database with every migration applied."""
    if database_url.startswith("sqlite:"):
        await migrate(empty_database)
    else:
        await asyncio.to_thread(execute, database_url, _all_migrations())
    return empty_database


@cache
def _all_migrations() -> str:
    """What `migrate` does, in one round trip: a PostgreSQL takes half the time for it."""
    steps = known_migrations()
    statements = ["CREATE TABLE schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, "
                  "at_ms BIGINT NOT NULL)"]  # fmt: skip
    for step in steps:
        statements += step.statements
        row = f"({step.number}, '{step.name}', 0)"
        statements.append(f"INSERT INTO schema_migrations VALUES {row}")  # noqa: S608 - ours
    return ";\n".join(statements)
