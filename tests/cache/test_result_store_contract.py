"""What every store of results promises, shown of each over its real medium."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import ObjectStore

from gateway.cache.disk import DiskStore
from gateway.cache.object_store import BucketStore, open_bucket
from gateway.cache.result_store import ResultStore, Stored, StoreFailure, StoreUnavailable
from gateway.cache.rules.entry import Entry
from tests.support.buckets import make_bucket, s3_server, url_of
from tests.support.results import DAY_MS, LARGE, NOW_MS, SMALL, Clock, entry_of

MAX_BYTES = 50_000_000


@dataclass
class Bench:
    """A store under test, and a hand that reaches under it."""

    results: ResultStore
    clock: Clock
    folder: Path
    bucket: ObjectStore | None = None

    async def damage(self, key: str) -> None:
        """Change one byte of a body where it lies for good."""
        if self.bucket:
            content = bytearray(await (await obstore.get_async(self.bucket, key)).bytes_async())
            content[-1] ^= 1
            await obstore.put_async(self.bucket, key, content)
            await self.results.drop_local_copy(key)
        else:
            for file in self.folder.glob("??/*.val"):
                content = bytearray(file.read_bytes())
                content[-1] ^= 1
                file.write_bytes(content)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["disk", "s3"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    clock = Clock()
    local = DiskStore(tmp_path / "cache", MAX_BYTES, now_ms=clock)
    bench = Bench(local, clock, tmp_path / "cache")
    if request.param == "s3":
        server = request.getfixturevalue("server")
        url = url_of(server, make_bucket(server))
        bench.results = BucketStore(url, local, 10, clock)
        bench.bucket = open_bucket(url, 10)
    yield bench
    await bench.results.close()


@pytest.fixture(params=["disk", "s3"])
async def unreachable(
    request: pytest.FixtureRequest, tmp_path: Path, unused_port: int, server: str
) -> AsyncIterator[ResultStore]:
    (tmp_path / "file").touch()
    results: ResultStore = DiskStore(tmp_path / "file" / "cache", MAX_BYTES)
    if request.param == "s3":
        results = BucketStore(url_of(f"http://127.0.0.1:{unused_port}", "b"), results)
    yield results
    await results.close()


@pytest.fixture
async def unused_port() -> int:
    """A port on which nothing listens any more."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def keys_of(results: ResultStore) -> set[str]:
    return {entry.key async for entry in results.entries()}


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_result_comes_back_as_it_was_stored(bench: Bench, body: bytes) -> None:
    entry = entry_of(body)
    assert await bench.results.put(entry, body)
    assert await bench.results.get(entry.key) == (entry, body)


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_result_is_made_in_a_thread_and_kept(bench: Bench, body: bytes) -> None:
    entry = entry_of(body)
    threads = set[str]()

    def make() -> Stored:
        threads.add(threading.current_thread().name)
        return Stored(entry, body)

    assert await bench.results.build_and_put(make) == ((entry, body), True)
    assert threading.current_thread().name not in threads
    assert await bench.results.get(entry.key) == (entry, body)


async def test_a_result_is_made_where_no_store_works(unreachable: ResultStore) -> None:
    stored = Stored(entry_of(LARGE), LARGE)
    assert await unreachable.build_and_put(lambda: stored) == (stored, False)
    assert unreachable.failure


async def test_what_goes_wrong_in_making_a_result_is_no_trouble_of_the_store(bench: Bench) -> None:
    def make() -> Stored:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.results.build_and_put(make)
    assert bench.results.failure is None


async def test_an_unknown_key_is_a_miss_and_no_trouble(bench: Bench) -> None:
    assert await bench.results.get("v1-unknown") is None
    assert bench.results.failure is None
    assert not bench.results.counts().failures


@pytest.mark.parametrize("bodies", [(SMALL, LARGE), (LARGE, SMALL), (LARGE, LARGE[::-1])])
async def test_a_later_result_takes_the_place_of_an_earlier_one(
    bench: Bench, bodies: tuple[bytes, bytes]
) -> None:
    for body in bodies:
        assert await bench.results.put(entry_of(body), body)
    stored = await bench.results.get("v1-00")
    assert stored
    assert stored.body == bodies[1]
    assert (await bench.results.stats()).entries == 1


async def test_an_expired_result_is_a_miss(bench: Bench) -> None:
    await bench.results.put(entry_of(LARGE), LARGE)
    bench.clock.now_ms = NOW_MS + DAY_MS - 1
    assert await bench.results.get("v1-00")
    bench.clock.now_ms += 1
    assert await bench.results.get("v1-00") is None


async def test_a_deleted_result_is_gone(bench: Bench) -> None:
    await bench.results.put(entry_of(LARGE), LARGE)
    assert await bench.results.delete("v1-00")
    assert await bench.results.get("v1-00") is None
    assert await keys_of(bench.results) == set()


async def test_deleting_what_is_not_there_succeeds(bench: Bench) -> None:
    assert await bench.results.delete("v1-unknown")


async def test_an_announced_refresh_does_not_drop_the_new_result(bench: Bench) -> None:
    await bench.results.put(entry_of(LARGE), LARGE)
    assert await bench.results.drop_local_copy("v1-00", older_than_ms=NOW_MS)
    assert await bench.results.get("v1-00")


async def test_entries_are_listed_without_reading_bodies(bench: Bench) -> None:
    stored = {entry_of(LARGE, f"v1-{number:02}", model=f"m{number}") for number in range(40)}
    for entry in stored:
        await bench.results.put(entry, LARGE)
    await bench.damage("v1-07")
    assert {entry async for entry in bench.results.entries()} == stored


async def test_a_purge_deletes_what_matches_and_nothing_else(bench: Bench) -> None:
    for number in range(40):
        team = "design" if number % 2 else "sales"
        await bench.results.put(entry_of(LARGE, f"v1-{number:02}", team=team), LARGE)
    assert await bench.results.purge(lambda entry: entry.team == "sales") == 20
    assert await keys_of(bench.results) == {f"v1-{number:02}" for number in range(1, 40, 2)}
    assert await bench.results.get("v1-02") is None
    assert await bench.results.get("v1-03")


async def test_a_damaged_result_is_a_miss_counted_and_deleted(bench: Bench) -> None:
    await bench.results.put(entry_of(LARGE), LARGE)
    await bench.damage("v1-00")
    assert await bench.results.get("v1-00") is None
    assert bench.results.counts().damaged == 1
    assert await keys_of(bench.results) == set()


async def test_a_check_finds_and_deletes_what_is_damaged(bench: Bench) -> None:
    await bench.results.put(entry_of(LARGE), LARGE)
    await bench.damage("v1-00")
    for number in range(1, 20):
        await bench.results.put(entry_of(LARGE, f"v1-{number:02}"), LARGE)
    seen: list[tuple[int, int]] = []
    verified = await bench.results.verify(lambda done, total: seen.append((done, total)))
    assert verified.damaged == 1
    assert seen[-1] == (verified.checked, verified.checked)
    assert len(await keys_of(bench.results)) == 19


async def test_stats_say_how_much_is_held_and_since_when(bench: Bench) -> None:
    for number in range(3):
        entry = entry_of(LARGE, f"v1-{number}", created_ms=NOW_MS - number)
        await bench.results.put(entry, LARGE)
    stats = await bench.results.stats()
    assert stats.entries == 3
    assert 3 * len(LARGE) < stats.bytes < 3 * len(LARGE) + 200_000
    assert stats.oldest_ms is not None


async def test_of_many_at_once_under_one_key_one_whole_result_remains(bench: Bench) -> None:
    bodies = [bytes([number]) * 60_000 for number in range(16)]
    await asyncio.gather(*(bench.results.put(entry_of(body), body) for body in bodies))
    stored = await bench.results.get("v1-00")
    assert stored
    assert stored.body in bodies
    assert (await bench.results.stats()).entries == 1


async def test_readers_never_miss_a_result_that_is_being_replaced(bench: Bench) -> None:
    await bench.results.put(entry_of(LARGE), LARGE)
    done = asyncio.Event()

    async def replace_again_and_again() -> None:
        for number in range(30):
            body = bytes([number]) * 60_000
            await bench.results.put(entry_of(body), body)
        done.set()

    replacing = asyncio.create_task(replace_again_and_again())
    while not done.is_set():
        assert await bench.results.get("v1-00")
    await replacing


async def test_an_unreachable_store_makes_misses_not_errors(unreachable: ResultStore) -> None:
    assert await unreachable.get("v1-00") is None
    assert not await unreachable.put(entry_of(LARGE), LARGE)
    assert not await unreachable.delete("v1-00")
    assert unreachable.counts().failures[StoreFailure.UNREACHABLE] >= 3
    assert unreachable.failure is StoreFailure.UNREACHABLE


async def test_an_unreachable_store_does_not_pass_for_an_empty_one(
    unreachable: ResultStore,
) -> None:
    def every(entry: Entry) -> bool:
        return True

    with pytest.raises(StoreUnavailable):
        await keys_of(unreachable)
    with pytest.raises(StoreUnavailable):
        await unreachable.purge(every)
    with pytest.raises(StoreUnavailable):
        await unreachable.stats()
