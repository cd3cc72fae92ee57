"""Announcements of replaced results: in order, none missed, one small look where there are none."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cache.tables import invalidation
from gateway.cache.tables.invalidation import News, Replaced
from gateway.database.database import Database
from tests.support.databases import open_engine
from tests.support.funds import NOW_MS


async def announce(database: Database, *replaced: Replaced, at: int = NOW_MS) -> None:
    await database.write(lambda tx: invalidation.announce(tx, replaced, at))


async def news(database: Database, number: int) -> News:
    return await database.read(lambda tx: invalidation.news_since(tx, number))


async def test_what_is_announced_is_heard_once(database: Database) -> None:
    await announce(database, Replaced("a", 1), Replaced("b", 2))
    first = await news(database, 0)

    assert sorted(each.key for each in first.replaced) == ["a", "b"]
    assert await news(database, first.number) == News(first.number)


async def test_later_announcements_come_in_their_order(database: Database) -> None:
    await announce(database, Replaced("a", 1))
    heard = (await news(database, 0)).number
    for at_ms in (5, 6, 7):
        await announce(database, Replaced("a", at_ms))

    assert [each.at_ms for each in (await news(database, heard)).replaced] == [5, 6, 7]


async def test_a_key_that_is_named_twice_at_once_is_announced_with_its_latest_time(
    database: Database,
) -> None:
    await announce(database, Replaced("a", 9), Replaced("a", 3))

    assert (await news(database, 0)).replaced == [Replaced("a", 9)]


async def test_nothing_to_announce_is_no_announcement(database: Database) -> None:
    before = (await news(database, 0)).number
    await announce(database)

    assert (await news(database, 0)).number == before


async def test_of_many_that_announce_at_once_none_is_missed_by_a_poller(
    database_url: str, database: Database
) -> None:
    second = open_engine(database_url)
    heard: list[str] = []

    async def poll() -> None:
        number = 0
        while len(heard) < 60:
            found = await news(second, number)
            number = found.number
            heard.extend(each.key for each in found.replaced)

    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(poll())
            for number in range(60):
                engine = (database, second)[number % 2]
                tasks.create_task(announce(engine, Replaced(f"k{number}", number)))
    finally:
        await second.close()

    assert sorted(heard) == sorted(f"k{number}" for number in range(60))


async def test_after_a_restored_backup_everything_is_heard_again(database: Database) -> None:
    await announce(database, Replaced("a", 1))

    assert [each.key for each in (await news(database, 99)).replaced] == ["a"]


@pytest.mark.parametrize(("before_ms", "left"), [(NOW_MS, 1), (NOW_MS + 1, 0)])
async def test_old_announcements_are_swept(database: Database, before_ms: int, left: int) -> None:
    await announce(database, Replaced("a", 1))
    await database.write(lambda tx: invalidation.sweep(tx, before_ms))

    assert len((await news(database, 0)).replaced) == left
