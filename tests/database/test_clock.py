"""The state's clock counts, not the machine's."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.database.clock import Clock, now_ms
from gateway.database.database import Database
from gateway.database.sqlite import SqliteDatabase
from tests.support.databases import database, database_url, empty_database, postgres_url

__all__ = ["database", "database_url", "empty_database", "postgres_url"]


class Ahead:
    """A database whose clock is two minutes ahead of this machine's; nothing else is asked."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner

    async def clock_ms(self) -> int:
        return await self._inner.clock_ms() + 120_000


async def test_a_clock_that_was_measured_goes_by_the_state_s(database: Database) -> None:
    clock = Clock()
    await clock.measure(Ahead(database))  # type: ignore[arg-type]

    assert abs(clock() - now_ms() - 120_000) < 5_000


async def test_a_step_of_the_machine_s_clock_is_not_followed_before_the_state_s(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, real_ns = Clock(), time.time_ns
    await clock.measure(database)
    before_ms = clock()
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 600 * 10**9)

    assert 0 <= clock() - before_ms < 5_000
    await clock.measure(database)
    followed_ms = 600_000 if isinstance(database, SqliteDatabase) else 0
    assert abs(clock() - before_ms - followed_ms) < 5_000


class Paused(Ahead):
    """Answers by the same clock, a moment late."""

    async def clock_ms(self) -> int:
        await asyncio.sleep(0.4)
        return await super().clock_ms()


async def test_an_answer_that_was_long_on_its_way_does_not_put_a_right_clock_wrong(
    database: Database,
) -> None:
    clock = Clock()
    await clock.measure(Ahead(database))  # type: ignore[arg-type]
    ahead_ms = clock() - now_ms()
    await clock.measure(Paused(database))  # type: ignore[arg-type]

    assert abs(clock() - now_ms() - ahead_ms) <= 2


async def test_on_one_machine_both_clocks_agree(database: Database) -> None:
    clock = Clock()

    assert abs(await clock.measure(database)) < 5_000
