"""What is asked for again and again comes out of memory, and is never out of date there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cache.disk import DiskStore
from gateway.cache.disk.index_access import IndexAccess
from gateway.cache.disk.memory_cache import LARGEST_SHARE, REMEMBERED_KEYS, MemoryCache
from gateway.cache.result_store import Stored
from tests.support.results import DAY_MS, LARGE, NOW_MS, Clock, entry_of, run

KEY = "v1-00"
OTHER = bytes(reversed(LARGE))
CHANGES = f"""
from gateway.cache.disk import DiskStore
from tests.support.results import LARGE, entry_of

async def main(folder, act):
    results = DiskStore(folder, 50_000_000, now_ms=lambda: {NOW_MS})
    if act == "replace":
        other = bytes(reversed(LARGE))
        assert await results.put(entry_of(other), other)
    elif act == "delete":
        assert await results.delete({KEY!r})
    elif act == "forget":
        assert await results.drop_local_copy({KEY!r})
    else:
        assert await results.purge(lambda entry: True) == 1
    await results.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def results(folder: Path, clock: Clock) -> AsyncIterator[DiskStore]:
    results = DiskStore(folder, 50_000_000, now_ms=clock, memory_bytes=1_000_000)
    yield results
    await results.close()


async def heat(results: DiskStore) -> None:
    """Store a result and ask for it until it is kept in memory."""
    assert await results.put(entry_of(LARGE), LARGE)
    for _ in range(2):
        assert await body_in(results) == LARGE


async def body_in(results: DiskStore) -> bytes | None:
    found = await results.get(KEY)
    return found.body if found else None


def lose_files(folder: Path) -> None:
    for file in folder.glob("??/*.val"):
        file.unlink()


# --- out of memory ------------------------------------------------------------------------


async def test_the_third_time_a_result_is_not_read_from_the_disk(
    folder: Path, results: DiskStore
) -> None:
    await heat(results)
    lose_files(folder)

    assert await body_in(results) == LARGE


async def test_a_folder_of_a_file_system_in_memory_is_cached_as_any_other(clock: Clock) -> None:
    """Such a file system refuses the flag by which others tell that they would have to wait."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        results = DiskStore(Path(name), 50_000_000, now_ms=clock, memory_bytes=1_000_000)
        await heat(results)
        lose_files(Path(name))

        assert await body_in(results) == LARGE
        await results.close()


async def test_once_asked_for_it_is_read_from_the_disk_again(
    folder: Path, results: DiskStore
) -> None:
    assert await results.put(entry_of(LARGE), LARGE)
    assert await body_in(results) == LARGE
    lose_files(folder)

    assert await body_in(results) is None


async def test_without_memory_everything_is_read_from_the_disk(folder: Path, clock: Clock) -> None:
    results = DiskStore(folder, 50_000_000, now_ms=clock, memory_bytes=0)
    await heat(results)
    lose_files(folder)

    assert await body_in(results) is None
    await results.close()


async def test_what_is_asked_for_all_the_time_is_renewed_and_nobody_waits_for_it(
    results: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight at once, over several times of what is kept: one read of the disk for each."""
    monkeypatch.setattr(results, "_memory", MemoryCache(1_000_000, kept_seconds=0.4))
    await heat(results)
    reads, read = 0, IndexAccess.read

    async def counted(self: IndexAccess, work: Any, patience: float = 1) -> Any:
        nonlocal reads
        reads += 1
        return await read(self, work, patience)

    monkeypatch.setattr(IndexAccess, "read", counted)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 1.5:
        assert set(await asyncio.gather(*(body_in(results) for _ in range(8)))) == {LARGE}
        await asyncio.sleep(0.01)

    assert 2 <= reads <= 8


# --- never out of date --------------------------------------------------------------------


async def test_what_has_run_out_is_not_served_from_memory(results: DiskStore, clock: Clock) -> None:
    await heat(results)
    clock.now_ms += DAY_MS

    assert await body_in(results) is None


async def test_a_change_of_this_process_counts_at_once(results: DiskStore) -> None:
    await heat(results)
    assert await results.put(entry_of(OTHER), OTHER)
    assert await body_in(results) == OTHER

    await heat(results)
    assert await results.delete(KEY)
    assert await body_in(results) is None


@pytest.mark.parametrize("act", ["replace", "delete", "forget", "purge"])
async def test_a_change_of_another_process_counts_at_once(
    folder: Path, results: DiskStore, act: str
) -> None:
    await heat(results)

    await asyncio.to_thread(run, CHANGES, folder, act)

    assert await body_in(results) == (OTHER if act == "replace" else None)


async def test_without_the_file_of_marks_nothing_is_served_from_memory(
    folder: Path, results: DiskStore
) -> None:
    await heat(results)
    (folder / "marks").write_bytes(b"")
    lose_files(folder)

    assert await body_in(results) is None


# --- bounds -------------------------------------------------------------------------------


def stored(key: str, size: int) -> Stored:
    body = bytes(size)
    return Stored(entry_of(body, key), body)


async def kept(hot: MemoryCache, key: str, size: int) -> bool:
    """Note it twice, as read from the disk; is it in memory then?"""
    for _ in range(2):
        hot.add_read(key, b"mark", stored(key, size))
    return hot.find(key, b"mark") is not None


async def test_memory_is_bounded_and_the_oldest_makes_room() -> None:
    hot = MemoryCache(max_bytes=1000)

    assert not await kept(hot, "large", 1000 // LARGEST_SHARE + 1)
    for number in range(10):
        assert await kept(hot, f"{number}", 250)

    assert [n for n in range(10) if hot.find(f"{n}", b"mark")] == [6, 7, 8, 9]


async def test_another_mark_or_none_is_no_find() -> None:
    hot = MemoryCache(max_bytes=1000)
    assert await kept(hot, "a", 10)

    assert hot.find("a", b"other") is None
    assert hot.find("a", b"") is None


async def test_what_is_kept_is_let_go_of_by_itself() -> None:
    hot = MemoryCache(max_bytes=1000, kept_seconds=0.05)
    assert await kept(hot, "a", 10)

    async with asyncio.timeout(30):
        while hot.find("a", b"mark"):
            await asyncio.sleep(0.01)


async def test_a_renewal_is_asked_for_once_and_not_before_half_its_time() -> None:
    hot = MemoryCache(max_bytes=1000, kept_seconds=30)
    assert not hot.should_renew("a")
    assert await kept(hot, "a", 10)
    assert not hot.should_renew("a")

    hot = MemoryCache(max_bytes=1000, kept_seconds=0.2)
    assert await kept(hot, "a", 10)
    await asyncio.sleep(0.11)
    assert [hot.should_renew("a") for _ in range(3)] == [True, False, False]
    assert await kept(hot, "a", 10)
    assert not hot.should_renew("a")


async def test_keys_asked_for_once_are_not_remembered_for_ever() -> None:
    hot = MemoryCache(max_bytes=1000)
    hot.add_read("first", b"mark", stored("first", 10))
    for number in range(REMEMBERED_KEYS):
        hot.add_read(f"{number}", b"mark", stored("x", 10))

    hot.add_read("first", b"mark", stored("first", 10))
    assert hot.find("first", b"mark") is None
