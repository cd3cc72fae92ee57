"""SQLite's own troubles: locks, files, threads and sudden ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from gateway.database.database import Conflict, Operation, StateUnavailable, Transaction
from gateway.database.sqlite import SqliteDatabase

WRITER = """
import asyncio, sys
from gateway.database.sqlite import SqliteDatabase
from tests.database.test_sqlite import create, numbered

async def main():
    database = SqliteDatabase(sys.argv[1])
    await database.write(create)
    for number in range(100_000):
        await database.write(numbered(number))
        print(number, flush=True)

asyncio.run(main())
"""

CRAMPED = """
import asyncio, resource, sys
from gateway.database.sqlite import SqliteDatabase
from gateway.database.database import StateUnavailable
from tests.database.test_sqlite import create, numbered, big

async def main():
    database = SqliteDatabase(sys.argv[1])
    await database.write(create)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    await database.write(numbered(1))
    try:
        await database.write(big)
    except StateUnavailable as error:
        print("unavailable:", error)
    await database.write(numbered(2))
    await database.close()

asyncio.run(main())
"""


CROWD = """
import asyncio, sys
from gateway.database.sqlite import SqliteDatabase
from tests.database.test_sqlite import create, numbered

async def main():
    database = SqliteDatabase(sys.argv[1])
    await database.write(create)

    async def write(first):
        for number in range(first, 100_000, 8):
            print(await database.write(numbered(number), together=True), flush=True)

    await asyncio.gather(*(write(first) for first in range(8)))

asyncio.run(main())
"""

CRAMPED_CROWD = """
import asyncio, resource, sys
from gateway.database.sqlite import SqliteDatabase
from gateway.database.database import StateUnavailable
from tests.database.test_sqlite import create, numbered, roomy

async def main():
    database = SqliteDatabase(sys.argv[1])
    await database.write(create)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    writes = (database.write(roomy(number), together=True) for number in range(60))
    for number, told in enumerate(await asyncio.gather(*writes, return_exceptions=True)):
        print(number if told == number else type(told).__name__)
    await database.close()

asyncio.run(main())
"""


async def create(tx: Transaction) -> None:
    await tx.fetch("CREATE TABLE IF NOT EXISTS numbers (value BIGINT PRIMARY KEY, body TEXT)")


async def big(tx: Transaction) -> None:
    for number in range(1000, 1100):
        await tx.fetch("INSERT INTO numbers VALUES ($1, $2)", number, "x" * 10_000)


async def values(tx: Transaction) -> list[int]:
    return [row["value"] for row in await tx.fetch("SELECT value FROM numbers ORDER BY value")]


class numbered:  # noqa: N801 - it stands for a function with its argument
    """An operation that adds one number."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def __call__(self, tx: Transaction) -> int:
        await tx.fetch("INSERT INTO numbers VALUES ($1, '')", self._number)
        return self._number


class roomy(numbered):  # noqa: N801
    """The same, with some room."""

    async def __call__(self, tx: Transaction) -> int:
        await tx.fetch("INSERT INTO numbers VALUES ($1, $2)", self._number, "x" * 10_000)
        return self._number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "gateway.db"


@pytest.fixture
async def engine(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, busy_seconds=0.2)
    yield database
    await database.close()


async def test_the_file_and_its_folder_are_for_the_owner_alone(
    engine: SqliteDatabase, path: Path
) -> None:
    await engine.write(create)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["gateway.db", "gateway.db-wal", "gateway.db-shm"], 0o600)


async def test_an_operation_that_suspends_is_refused_and_undone(engine: SqliteDatabase) -> None:
    async def suspends(tx: Transaction) -> None:
        await tx.fetch("INSERT INTO numbers VALUES (1, '')")
        await asyncio.sleep(0)

    await engine.write(create)
    with pytest.raises(RuntimeError, match="awaited something else"):
        await engine.write(suspends)
    assert await engine.read(values) == []


async def test_a_lock_that_another_process_holds_too_long_is_an_unavailable_state(
    engine: SqliteDatabase, path: Path
) -> None:
    await engine.write(create)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateUnavailable, match="locked"):
            await engine.write(numbered(1))
        assert await engine.read(values) == []  # readers don't mind
        other.execute("COMMIT")
    finally:
        other.close()
    assert await engine.write(numbered(1)) == 1


async def test_a_folder_that_cannot_be_made_is_an_unavailable_state_until_it_can(
    engine: SqliteDatabase, path: Path
) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(StateUnavailable, match=r"gateway\.db"):
        await engine.write(create)
    path.parent.unlink()
    await engine.write(create)
    assert await engine.read(values) == []


async def test_a_file_that_is_no_database_is_an_unavailable_state(
    engine: SqliteDatabase, path: Path
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else entirely " * 100)
    with pytest.raises(StateUnavailable, match="not a database"):
        await engine.write(create)


async def test_a_damaged_page_is_an_unavailable_state(engine: SqliteDatabase, path: Path) -> None:
    await engine.write(create)
    await engine.write(big)
    await engine.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096 * 3))
    again = SqliteDatabase(path)
    with pytest.raises(StateUnavailable, match="malformed"):
        await again.read(values)
    await again.close()


async def test_money_goes_before_batches(engine: SqliteDatabase) -> None:
    order: list[str] = []
    holding, go_on = threading.Event(), threading.Event()

    async def holds(tx: Transaction) -> None:
        holding.set()
        go_on.wait(5)

    def noting(name: str) -> Operation[None]:
        async def note(tx: Transaction) -> None:
            order.append(name)

        return note

    first = asyncio.ensure_future(engine.write(holds))
    await asyncio.to_thread(holding.wait, 5)
    batch = asyncio.ensure_future(engine.write(noting("batch"), urgent=False))
    await asyncio.sleep(0)
    money = asyncio.ensure_future(engine.write(noting("money")))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, batch, money)
    assert order == ["money", "batch"]


async def test_a_batch_is_not_put_off_for_ever(engine: SqliteDatabase) -> None:
    async def nothing(tx: Transaction) -> None:
        return

    batch = asyncio.ensure_future(engine.write(nothing, urgent=False))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        busy = [asyncio.ensure_future(_keep_writing(engine, batch)) for _ in range(4)]
        await batch
        await asyncio.gather(*busy)


async def _keep_writing(engine: SqliteDatabase, until: asyncio.Future[None]) -> None:
    async def nothing(tx: Transaction) -> None:
        return

    while not until.done():
        await engine.write(nothing)


# --- together -------------------------------------------------------------------------


async def crowd(engine: SqliteDatabase, *operations: Operation[Any]) -> tuple[list[Any], list[int]]:
    """What becomes of operations that wait in line at once, and how many numbers each finds when
    it is told."""
    holding, go_on = threading.Event(), threading.Event()

    async def holds(tx: Transaction) -> None:
        holding.set()
        go_on.wait(10)

    first = asyncio.ensure_future(engine.write(holds))
    await asyncio.to_thread(holding.wait, 10)
    seen: list[int] = []

    async def told(write: Awaitable[Any]) -> Any:
        try:
            return await write
        finally:
            seen.append(len(await engine.read(values)))

    writes = [asyncio.ensure_future(told(engine.write(o, together=True))) for o in operations]
    await asyncio.sleep(0)
    go_on.set()
    await first
    return list(await asyncio.gather(*writes, return_exceptions=True)), seen


async def test_short_writes_that_wait_are_committed_together(engine: SqliteDatabase) -> None:
    await engine.write(create)
    results, seen = await crowd(engine, *(numbered(number) for number in range(8)))
    assert results == list(range(8))
    assert seen == [8] * 8, "whoever is told first finds all of them"


async def test_one_that_fails_undoes_itself_alone(engine: SqliteDatabase) -> None:
    async def fails(tx: Transaction) -> None:
        await tx.fetch("INSERT INTO numbers VALUES (100, '')")
        raise LookupError("of its own")

    await engine.write(create)
    results, _ = await crowd(engine, numbered(1), fails, numbered(2), numbered(2), numbered(3))
    kinds = [type(result) for result in results]
    assert kinds == [int, LookupError, int, Conflict, int]
    assert await engine.read(values) == [1, 2, 3]


async def test_what_ends_the_whole_transaction_is_told_to_who_caused_it(
    engine: SqliteDatabase,
) -> None:
    async def finds_no_table(tx: Transaction) -> None:
        await tx.fetch("INSERT INTO nowhere VALUES (1)")

    async def suspends(tx: Transaction) -> None:
        await asyncio.sleep(0)

    async def goes_on(tx: Transaction) -> None:
        with contextlib.suppress(Conflict):
            await numbered(1)(tx)

    await engine.write(create)
    results, _ = await crowd(
        engine, numbered(1), finds_no_table, numbered(2), suspends, goes_on, numbered(3)
    )
    kinds = [type(result) for result in results]
    assert kinds == [int, StateUnavailable, int, RuntimeError, RuntimeError, int]
    assert await engine.read(values) == [1, 2, 3]


async def test_nobody_is_told_what_a_full_disk_has_not_taken(path: Path) -> None:
    root = Path(__file__).parents[2]
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CRAMPED_CROWD, str(path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    told = process.stdout.split()
    database = SqliteDatabase(path)
    kept = await database.read(values)
    await database.close()
    assert kept == [int(word) for word in told if word.isdecimal()]
    assert {word for word in told if not word.isdecimal()} <= {"StateUnavailable", "CommitUnknown"}
    assert 0 < len(kept) < len(told) == 60


async def test_a_lock_that_another_process_holds_is_waited_for_once_by_all(
    engine: SqliteDatabase, path: Path
) -> None:
    await engine.write(create)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = (engine.write(numbered(number), together=True) for number in range(12))
        started = time.monotonic()
        told = await asyncio.gather(*writes, return_exceptions=True)
        assert time.monotonic() - started < 12 * 0.2
    assert {type(each) for each in told} == {StateUnavailable}


async def told_and_kept(program: str, path: Path, lines: int) -> tuple[list[int], list[int]]:
    """What a program has printed until it is killed, some lines on, and what the database has."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    seen += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()
    database = SqliteDatabase(path)
    kept = await database.read(values)
    await database.close()
    return seen, kept


async def test_what_was_committed_survives_a_kill(path: Path) -> None:
    seen, kept = await told_and_kept(WRITER, path, 200)
    assert kept[: len(seen)] == seen
    assert len(kept) - len(seen) <= 1


async def test_what_a_crowd_was_told_survives_a_kill(path: Path) -> None:
    seen, kept = await told_and_kept(CROWD, path, 400)
    assert set(seen) <= set(kept)
    assert len(kept) - len(seen) <= 8


async def test_a_full_disk_keeps_nothing_by_halves(path: Path) -> None:
    root = Path(__file__).parents[2]
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CRAMPED, str(path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.startswith("unavailable:")
    database = SqliteDatabase(path)
    assert await database.read(values) == [1, 2]
    await database.close()


async def test_opening_it_once_more_leaves_every_lock_in_place(path: Path) -> None:
    """POSIX locks go when *any* descriptor of their file is closed by their process.

    A process that lost its locks so would have its log thrown away by the next one that
    closes the database, and both would go on with a ledger of their own.
    """
    first, second = SqliteDatabase(path), SqliteDatabase(path)
    await first.write(create)
    await second.write(numbered(1))
    log = path.with_name(path.name + "-wal")
    before = log.stat().st_ino
    elsewhere = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute('SELECT COUNT(*) FROM sqlite_master').fetchall(); c.close()"
    )
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", elsewhere, str(path)], check=True
    )
    assert log.exists()
    assert log.stat().st_ino == before
    await first.close()
    await second.close()
