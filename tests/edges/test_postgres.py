"""PostgreSQL's own troubles: a server that is down, silent, or gone in the middle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from gateway.edges.postgres import PostgresDatabase
from gateway.state.database import CommitUnknown, StateUnavailable, Transaction
from tests.engines import fresh_schema, postgres_url

__all__ = ["postgres_url"]


async def create(tx: Transaction) -> None:
    await tx.fetch("CREATE TABLE numbers (name TEXT PRIMARY KEY, value BIGINT NOT NULL)")
    await tx.fetch("INSERT INTO numbers VALUES ('a', 0), ('b', 0)")


async def raise_a(tx: Transaction) -> None:
    await tx.fetch("UPDATE numbers SET value = value + 1 WHERE name = 'a'")


async def value_of_a(tx: Transaction) -> int:
    rows = await tx.fetch("SELECT value FROM numbers WHERE name = 'a'")
    return int(rows[0]["value"])


class Line:
    """A real TCP line to a PostgreSQL, which a test can cut, silence or listen in on."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._server: asyncio.Server | None = None
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
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


@pytest.fixture
async def direct(schema_url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(schema_url)
    await database.write(create)
    yield database
    await database.close()


@pytest.fixture
async def distant(
    line: Line, direct: PostgresDatabase, schema_url: str
) -> AsyncIterator[PostgresDatabase]:
    """The same database, by way of the line."""
    path = schema_url.rsplit("search_path=", 1)[1]
    url = f"postgresql://postgres@127.0.0.1:{line.port}/postgres?search_path={path}"
    database = PostgresDatabase(url, connect_seconds=1.0, command_seconds=0.5)
    yield database
    await database.close()


async def test_a_server_that_is_down_at_start_is_found_when_it_is_back(
    line: Line, distant: PostgresDatabase
) -> None:
    await line.close()
    for _ in range(2):
        with pytest.raises(StateUnavailable):
            await distant.read(value_of_a)
    await line.open()
    assert await distant.read(value_of_a) == 0


async def test_a_line_cut_before_the_commit_changes_nothing(
    line: Line, distant: PostgresDatabase, direct: PostgresDatabase
) -> None:
    async def is_cut(tx: Transaction) -> None:
        await raise_a(tx)
        line.cut()
        await raise_a(tx)

    with pytest.raises(StateUnavailable) as caught:
        await distant.write(is_cut)
    assert not isinstance(caught.value, CommitUnknown)
    assert await direct.read(value_of_a) == 0
    await distant.write(raise_a)
    assert await direct.read(value_of_a) == 1


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_line_cut_during_the_commit_leaves_it_unknown(
    line: Line, distant: PostgresDatabase, direct: PostgresDatabase, arrives: bool
) -> None:
    async def cut_at_commit(sent: bytes) -> bool:
        if b"COMMIT\0" not in sent:
            return True
        if arrives:
            line.silent = True
            asyncio.get_running_loop().call_later(0.1, line.cut)
        else:
            line.cut()
        return arrives

    line.on_sent = cut_at_commit
    with pytest.raises(CommitUnknown):
        await distant.write(raise_a)
    assert await direct.read(value_of_a) == int(arrives)


async def test_a_server_that_falls_silent_is_given_up(
    line: Line, distant: PostgresDatabase
) -> None:
    assert await distant.read(value_of_a) == 0
    line.silent = True
    async with asyncio.timeout(5):
        with pytest.raises(StateUnavailable):
            await distant.read(value_of_a)
        with pytest.raises(StateUnavailable):
            await distant.write(raise_a)


async def test_a_backend_that_is_terminated_is_replaced(
    direct: PostgresDatabase, schema_url: str
) -> None:
    async def terminated(tx: Transaction) -> None:
        await raise_a(tx)
        (row,) = await tx.fetch("SELECT CAST(pg_backend_pid() AS BIGINT) AS pid")
        other = await asyncpg.connect(schema_url)
        await other.execute("SELECT pg_terminate_backend($1::int)", row["pid"])
        await other.close()
        await raise_a(tx)

    with pytest.raises(StateUnavailable):
        await direct.write(terminated)
    assert await direct.read(value_of_a) == 0


async def test_the_victim_of_a_deadlock_is_run_again(direct: PostgresDatabase) -> None:
    both = asyncio.Barrier(2)
    runs = 0

    def crossing(first: str, second: str) -> Callable[[Transaction], Any]:
        async def cross(tx: Transaction) -> None:
            nonlocal runs
            runs += 1
            raising = "UPDATE numbers SET value = value + 1 WHERE name = $1"
            await tx.fetch(raising, first)
            if runs <= 2:
                await both.wait()
            await tx.fetch(raising, second)

        return cross

    await asyncio.gather(direct.write(crossing("a", "b")), direct.write(crossing("b", "a")))
    assert runs == 3
    assert await direct.read(value_of_a) == 2


async def test_batches_leave_the_connections_to_money(schema_url: str) -> None:
    database = PostgresDatabase(schema_url, writers=2)
    release = asyncio.Event()

    async def slow(tx: Transaction) -> None:
        await release.wait()

    async def quick(tx: Transaction) -> str:
        return "done"

    batches = [asyncio.ensure_future(database.write(slow, urgent=False)) for _ in range(4)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        assert await database.write(quick) == "done"
    release.set()
    await asyncio.gather(*batches)
    await database.close()


async def test_writes_that_wait_for_rows_do_not_keep_reads_waiting(
    direct: PostgresDatabase,
) -> None:
    release = asyncio.Event()

    async def holds(tx: Transaction) -> None:
        await raise_a(tx)
        await release.wait()

    writes = [asyncio.ensure_future(direct.write(holds))]
    writes += [asyncio.ensure_future(direct.write(raise_a)) for _ in range(30)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        assert await direct.read(value_of_a) == 0
    release.set()
    await asyncio.gather(*writes)
    assert await direct.read(value_of_a) == 31


async def test_a_wrong_password_or_database_is_an_unavailable_state(schema_url: str) -> None:
    database = PostgresDatabase(schema_url.replace("/postgres?", "/no_such_database?"))
    with pytest.raises(StateUnavailable, match="no_such_database"):
        await database.read(value_of_a)
    await database.close()


async def test_a_value_of_the_wrong_type_is_the_callers_mistake(direct: PostgresDatabase) -> None:
    async def mistaken(tx: Transaction) -> None:
        await tx.fetch("SELECT value FROM numbers WHERE value = $1", "seven")

    with pytest.raises(asyncpg.DataError):
        await direct.read(mistaken)
