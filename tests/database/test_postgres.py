"""PostgreSQL's own troubles: a server that is down, silent, or gone in the middle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from gateway.database.database import CommitUnknown, StateUnavailable, Transaction
from gateway.database.postgres import PostgresDatabase
from gateway.runtime.backends import open_database
from gateway.settings import SettingsError, StateSettings
from tests.support.engines import Line, line, postgres_url, schema_url

__all__ = ["line", "postgres_url", "schema_url"]


async def create(tx: Transaction) -> None:
    await tx.fetch("CREATE TABLE numbers (name TEXT PRIMARY KEY, value BIGINT NOT NULL)")
    await tx.fetch("INSERT INTO numbers VALUES ('a', 0), ('b', 0)")


async def raise_a(tx: Transaction) -> None:
    await tx.fetch("UPDATE numbers SET value = value + 1 WHERE name = 'a'")


async def value_of_a(tx: Transaction) -> int:
    rows = await tx.fetch("SELECT value FROM numbers WHERE name = 'a'")
    return int(rows[0]["value"])


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
    async with asyncio.timeout(10):
        with pytest.raises(StateUnavailable):
            await distant.read(value_of_a)
        with pytest.raises(StateUnavailable):
            await distant.write(raise_a)


async def test_after_a_time_out_no_connection_from_before_is_waited_for(
    line: Line, distant: PostgresDatabase
) -> None:
    all_four = asyncio.Barrier(4)

    async def with_others(tx: Transaction) -> None:
        await all_four.wait()

    await asyncio.gather(*(distant.read(with_others) for _ in range(4)))
    line.silent = True
    with pytest.raises(StateUnavailable):
        await distant.read(value_of_a)
    line.silent = False
    opened = line.connections
    await asyncio.gather(*(distant.read(with_others) for _ in range(4)))
    assert line.connections >= opened + 4


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where connections are made and nothing is ever answered, as by a frozen server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_of_several_hosts_one_that_does_not_answer_is_left_for_the_next(
    line: Line, direct: PostgresDatabase, schema_url: str, silent_port: int
) -> None:
    path = schema_url.rsplit("search_path=", 1)[1]
    hosts = f"127.0.0.1:{silent_port},127.0.0.1:{line.port}"
    database = PostgresDatabase(
        f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write&search_path={path}",
        connect_seconds=1.0,
    )
    async with asyncio.timeout(10):
        assert await database.read(value_of_a) == 0
        line.cut()
    async with asyncio.timeout(0.4):  # it is not asked again before the one that answered
        with pytest.raises(StateUnavailable):
            await database.read(value_of_a)
        assert await database.read(value_of_a) == 0
    await database.close()


async def test_each_host_that_takes_no_writes_is_named_with_its_reason_and_no_secret(
    silent_port: int,
) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{silent_port}"
    database = PostgresDatabase(f"postgresql://user:secret@{hosts}/state", connect_seconds=0.2)
    with pytest.raises(StateUnavailable, match="none of its hosts takes writes") as refused:
        await database.read(value_of_a)
    assert "127.0.0.1:1: [Errno 111]" in str(refused.value)
    assert f"127.0.0.1:{silent_port}: TimeoutError" in str(refused.value)
    assert refused.value.reason == "none of its hosts takes writes"
    assert "secret" not in str(refused.value)
    await database.close()


@pytest.mark.parametrize("wanted", ["standby", "read-only", "prefer-standby", "primry"])
def test_a_url_that_asks_for_a_replica_is_refused(wanted: str) -> None:
    with pytest.raises(SettingsError, match="target_session_attrs must be read-write"):
        open_database(StateSettings(url=f"postgresql://a,b/state?target_session_attrs={wanted}"))


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
    assert runs >= 3  # the victim may become one again, before the other has its second lock
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
    try:
        async with asyncio.timeout(10):
            assert await database.write(quick) == "done"
    finally:
        release.set()
        await asyncio.gather(*batches)
        await database.close()


async def test_writes_that_wait_for_rows_do_not_keep_reads_waiting(
    direct: PostgresDatabase,
) -> None:
    holding, release = asyncio.Event(), asyncio.Event()

    async def holds(tx: Transaction) -> None:
        await raise_a(tx)
        holding.set()
        await release.wait()

    writes = [asyncio.ensure_future(direct.write(holds))]
    await holding.wait()
    writes += [asyncio.ensure_future(direct.write(raise_a)) for _ in range(30)]
    await asyncio.sleep(0.1)
    try:
        async with asyncio.timeout(10):
            assert await direct.read(value_of_a) == 0
    finally:
        release.set()
        await asyncio.gather(*writes)
    assert await direct.read(value_of_a) == 31


async def test_closing_does_not_wait_for_ever(schema_url: str) -> None:
    database = PostgresDatabase(schema_url, command_seconds=0.2)

    async def never_ends(tx: Transaction) -> None:
        await asyncio.Event().wait()

    write = asyncio.ensure_future(database.write(never_ends))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        await database.close()
    with pytest.raises(asyncio.CancelledError):
        await write


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


@pytest.mark.parametrize("password", ["se#cret", "se/cret", "se@cret", "se?cret", "12#se@cret"])
def test_a_password_that_is_not_percent_encoded_is_refused_without_any_part_of_it(
    password: str,
) -> None:
    state = StateSettings(url=f"postgresql://user:{password}@db.internal:5432/state")
    with pytest.raises(SettingsError, match="percent-encode the password") as refused:
        open_database(state)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("postgresql://user:secret@db:5432/state", "postgresql://…@db:5432/state"),
        ("postgresql://u:secret@a:5432,b/state", "postgresql://…@a:5432,b/state"),
        ("postgresql://db/state?user=u&password=secret", "postgresql://db/state?…"),
        ("postgresql://u@db/state?password=s@cret", "postgresql://…@db/state?…"),
        ("sqlite:var/gateway.db", "sqlite:var/gateway.db"),
    ],
)
def test_a_url_is_printed_without_user_and_password(url: str, printed: str) -> None:
    assert StateSettings(url=url).printable_url == printed


async def test_a_url_that_cannot_be_read_is_refused_without_any_part_of_it() -> None:
    database = PostgresDatabase("postgresql://user:secret@db.internal:54x2/state")
    with pytest.raises(StateUnavailable, match="check its port") as refused:
        await database.read(value_of_a)
    assert refused.value.__suppress_context__
    assert "secret" not in str(refused.value)
    await database.close()
