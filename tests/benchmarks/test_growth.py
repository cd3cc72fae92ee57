"""Neither a hit nor a purchase gets slower as the years go by."""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.cache.rules.entry import encode
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.emulator import EmulatorServer
from tests.ledger.test_growth import COARSER, ROLLED_UP, calls
from tests.support.funds import CENT, Till
from tests.support.results import SMALL, entry_of
from tests.support.serving import Running, make_key, serving, settings_for

pytestmark = pytest.mark.long

ENTRIES = 1_000_000
LEDGER_ROWS = 10_000_000
ROUNDS = 15
PROMPTS = 40


def fill(index: Path, entries: int) -> None:
    """So many small results beside those that are there, in the places of a running index."""
    header = json.loads(encode(entry_of(SMALL, "v1-0")))
    with closing(sqlite3.connect(index)) as rows, rows:
        rows.execute("PRAGMA synchronous = OFF")
        triggers = rows.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        for name, _ in (kept := triggers.fetchall()):
            rows.execute(f"DROP TRIGGER {name}")
        rows.executemany(
            "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, tag, size, mode, "
            "value) VALUES (?, 1, 1, 9e9, ?, ?, 0, 1, ?)",
            (
                (key, number, json.dumps({**header, "key": key}).encode(), SMALL)
                for number in range(entries)
                for key in [f"v1-{number * 0x9E3779B97F4A7C15 % 2**64:064x}"]
            ),
        )
        rows.execute("UPDATE Settings SET value = value + ? WHERE key = 'count'", (entries,))
        for _, sql in kept:
            rows.execute(sql)


def in_turns(rounds: int, *works: Callable[[int], float]) -> list[float]:
    """The medians of what each takes, in turns, so that all see the same machine."""
    taken: list[list[float]] = [[] for _ in works]
    for number in range(rounds):
        for work, seconds in zip(works, taken, strict=True):
            seconds.append(work(number))
    return [statistics.median(seconds) for seconds in taken]


def test_a_hit_takes_as_long_among_a_million_results_as_among_a_thousand(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with ExitStack() as stack:

        def opened(name: str, entries: int) -> Running:
            settings = settings_for(tmp_path / name, emulator)
            make_key(settings)
            running = stack.enter_context(serving(settings))
            for number in range(PROMPTS):
                assert running.edit(f"prompt {number}").status_code == 200
            fill(tmp_path / name / "cache" / "cache.db", entries)
            return running

        few, many = opened("few", 1_000), opened("many", ENTRIES)

        def hits(running: Running) -> Callable[[int], float]:
            def work(_: int) -> float:
                began = time.perf_counter()
                for number in range(PROMPTS):
                    assert running.edit(f"prompt {number}").headers["x-gateway-cache"] == "HIT"
                return time.perf_counter() - began

            return work

        among_few, among_many = in_turns(ROUNDS, hits(few), hits(many))
    assert among_many <= 1.2 * among_few, (among_few, among_many)


async def test_a_purchase_takes_as_long_behind_ten_million_others_as_behind_none(
    tmp_path: Path,
) -> None:
    empty, full = SqliteDatabase(tmp_path / "empty.db"), SqliteDatabase(tmp_path / "full.db")
    for database in (empty, full):
        await migrate(database)
        await Till(database).open()
    with closing(sqlite3.connect(tmp_path / "full.db")) as state, state:
        state.execute("PRAGMA synchronous = OFF")
        state.execute(calls(LEDGER_ROWS))
        for statement in (ROLLED_UP, *COARSER):
            state.execute(statement)

    async def buy(database: SqliteDatabase, number: int) -> float:
        till = Till(database)
        began = time.perf_counter()
        for each in range(20):
            await till.reserve(f"own-{number}-{each}")
            await till.settle(f"own-{number}-{each}", CENT)
        return time.perf_counter() - began

    taken: dict[SqliteDatabase, list[float]] = {empty: [], full: []}
    for number in range(ROUNDS):
        for database, seconds in taken.items():
            seconds.append(await buy(database, number))
    behind_none, behind_many = (statistics.median(taken[each]) for each in (empty, full))
    await empty.close()
    await full.close()
    assert behind_many <= 1.2 * behind_none, (behind_none, behind_many)
