"""What the state asks of an engine: the same promises kept by SQLite and by PostgreSQL."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.database.database import Conflict, Database, Row, StateUnavailable, Transaction
from gateway.database.migrate import Migration, migrate
from tests.support.databases import open_engine

TABLES = Migration(
    1, "things", ("CREATE TABLE things (name TEXT PRIMARY KEY, amount BIGINT, remark TEXT)",)
)

PROCESS = """
import asyncio, sys
from tests.support.databases import open_engine
from tests.database.test_database import add_one

async def main():
    database = open_engine(sys.argv[1])
    await asyncio.gather(*(database.write(add_one) for _ in range(50)))
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
async def engine(empty_database: Database) -> Database:
    await migrate(empty_database, [TABLES])
    return empty_database


async def add_one(tx: Transaction) -> int:
    rows = await tx.fetch(
        "INSERT INTO things (name, amount) VALUES ('counter', 1) "
        "ON CONFLICT (name) DO UPDATE SET amount = things.amount + 1 RETURNING amount"
    )
    return int(rows[0]["amount"])


async def amount(tx: Transaction) -> int:
    rows = await tx.fetch("SELECT amount FROM things WHERE name = 'counter'")
    return int(rows[0]["amount"]) if rows else 0


async def names(tx: Transaction) -> list[str]:
    return [row["name"] for row in await tx.fetch("SELECT name FROM things ORDER BY name")]


async def test_what_is_written_can_be_read(engine: Database) -> None:
    assert await engine.write(add_one) == 1
    assert await engine.read(amount) == 1


async def test_values_come_back_as_they_went(engine: Database) -> None:
    async def there_and_back(tx: Transaction) -> Row:
        rows = await tx.fetch(
            "INSERT INTO things (name, amount, remark) VALUES ($1, $2, $3) "
            "RETURNING name, amount, remark",
            *("naïve 🌍 'quoted'", -(2**63), None),
        )
        return rows[0]

    row = await engine.write(there_and_back)
    assert dict(row) == {"name": "naïve 🌍 'quoted'", "amount": -(2**63), "remark": None}


async def test_a_parameter_may_be_used_twice(engine: Database) -> None:
    async def twice(tx: Transaction) -> Row:
        sql = "INSERT INTO things (name, remark) VALUES ($1, $1) RETURNING name, remark"
        return (await tx.fetch(sql, "a"))[0]

    assert await engine.write(twice) == {"name": "a", "remark": "a"}


async def test_an_operation_that_fails_leaves_nothing_behind(engine: Database) -> None:
    async def fails(tx: Transaction) -> None:
        await add_one(tx)
        raise LookupError("changed my mind")

    with pytest.raises(LookupError, match="changed my mind"):
        await engine.write(fails)
    assert await engine.read(amount) == 0


async def test_a_name_that_is_taken_is_a_conflict(engine: Database) -> None:
    async def twice(tx: Transaction) -> None:
        await tx.fetch("INSERT INTO things (name) VALUES ('a')")
        await tx.fetch("INSERT INTO things (name) VALUES ('a')")

    with pytest.raises(Conflict):
        await engine.write(twice)
    assert await engine.read(names) == []


async def test_an_error_that_an_operation_swallows_is_not_committed(engine: Database) -> None:
    async def swallows(tx: Transaction) -> None:
        await tx.fetch("INSERT INTO things (name) VALUES ('a')")
        try:
            await tx.fetch("INSERT INTO things (name) VALUES ('a')")
        except Conflict:
            return

    with pytest.raises(RuntimeError, match="went on after an error"):
        await engine.write(swallows)
    assert await engine.read(names) == []


async def test_a_transaction_that_failed_runs_nothing_more(engine: Database) -> None:
    async def goes_on(tx: Transaction) -> None:
        try:
            await tx.fetch("INSERT INTO nowhere (name) VALUES ('a')")
        except StateUnavailable:
            await tx.fetch("INSERT INTO things (name) VALUES ('b')")

    with pytest.raises(RuntimeError, match="failed already"):
        await engine.write(goes_on)
    assert await engine.read(names) == []


async def test_a_read_can_not_write(engine: Database) -> None:
    with pytest.raises(StateUnavailable, match=r"read-?only"):
        await engine.read(add_one)
    assert await engine.read(amount) == 0


async def test_a_read_sees_one_moment(database_url: str, engine: Database) -> None:
    other = open_engine(database_url)
    loop = asyncio.get_running_loop()

    async def looks_twice(tx: Transaction) -> tuple[int, int]:
        before = await amount(tx)
        written = asyncio.run_coroutine_threadsafe(other.write(add_one), loop)
        while not written.done():
            await tx.fetch("SELECT name FROM things")
        return before, await amount(tx)

    assert await engine.read(looks_twice) == (0, 0)
    assert await engine.read(amount) == 1
    await other.close()


async def test_a_write_whose_caller_left_happens_all_the_same(engine: Database) -> None:
    caller = asyncio.ensure_future(engine.write(add_one))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await engine.write(add_one) in (1, 2)
    for _ in range(100):
        if await engine.read(amount) == 2:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the cancelled caller's write never happened")


async def test_close_finishes_what_is_queued(database_url: str, engine: Database) -> None:
    other = open_engine(database_url)
    writes = [asyncio.ensure_future(other.write(add_one, urgent=n % 2 == 0)) for n in range(20)]
    await asyncio.sleep(0)
    await other.close()
    assert sorted(await asyncio.gather(*writes)) == list(range(1, 21))
    assert await engine.read(amount) == 20


async def test_a_closed_engine_says_so_and_closes_twice(database_url: str) -> None:
    other = open_engine(database_url)
    await other.close()
    await other.close()
    with pytest.raises(StateUnavailable, match="closed"):
        await other.write(add_one)
    with pytest.raises(StateUnavailable, match="closed"):
        await other.read(amount)


async def test_tables_that_are_missing_are_an_unavailable_state(empty_database: Database) -> None:
    with pytest.raises(StateUnavailable, match="things"):
        await empty_database.read(amount)


async def test_a_mistake_in_a_statement_is_not_called_unavailable(engine: Database) -> None:
    async def mistaken(tx: Transaction) -> None:
        await tx.fetch("SELEKT 1")

    with pytest.raises(Exception, match="syntax error") as caught:
        await engine.write(mistaken)
    assert not isinstance(caught.value, StateUnavailable)
    assert await engine.write(add_one) == 1


async def test_processes_that_write_together_lose_nothing(
    database_url: str, engine: Database
) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROCESS, database_url]
    processes = [subprocess.Popen(command, cwd=root) for _ in range(3)]
    codes = await asyncio.gather(*(asyncio.to_thread(each.wait, 60) for each in processes))
    assert codes == [0, 0, 0]
    assert await engine.read(amount) == 150
