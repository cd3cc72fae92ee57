"""The disk's own promises; what every store promises is in test_results_contract.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import diskcache
import pytest

from gateway.cache.disk import DiskStore
from gateway.cache.disk.bounded_executor import BoundedExecutor
from gateway.cache.result_store import Stored, StoreFailure
from gateway.cache.rules.entry import encode
from tests.support.results import DAY_MS, LARGE, NOW_MS, SMALL, Clock, entry_of, program, run

MAX_BYTES = 50_000_000
BODIES = [
    pytest.param(SMALL, id="in the index"),
    pytest.param(LARGE, id="in a file"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def results(folder: Path, clock: Clock) -> AsyncIterator[DiskStore]:
    results = DiskStore(folder, MAX_BYTES, now_ms=clock)
    yield results
    await results.close()


def files_in(folder: Path) -> list[Path]:
    return list(folder.glob("??/*.val"))


def execute(folder: Path, statement: str, *values: object) -> None:
    """Change the index behind the store's back."""
    with sqlite3.connect(folder / "cache.db", isolation_level=None) as connection:
        connection.execute(statement, values)
    connection.close()


def used_on_disk(folder: Path) -> int:
    """Bytes of every file, but for SQLite's log."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in paths if not path.name.endswith(("-wal", "-shm")))


# --- who may read and write the folder ----------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
async def test_folders_and_files_are_their_owners_alone(
    folder: Path, results: DiskStore, umask: int
) -> None:
    before = os.umask(umask)
    try:
        assert await results.put(entry_of(LARGE), LARGE)
    finally:
        os.umask(before)
    made = [folder, *folder.rglob("*")]
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in made}
    assert modes == {True: 0o700, False: 0o600}
    assert len(made) > 3


class _Spy:
    """Unpickling one of these makes a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("padding", [0, 50_000], ids=["in the index", "in a file"])
async def test_a_planted_pickle_is_deleted_and_never_run(
    folder: Path, tmp_path: Path, results: DiskStore, padding: int
) -> None:
    entry = entry_of(SMALL)
    await results.put(entry, SMALL)
    with diskcache.Cache(str(folder)) as plain:
        plain.set("v1-00", (_Spy(tmp_path / "ran"), b"x" * padding), tag=encode(entry).encode())
        plain.set((1, 2), "a key that is a pickle", tag=encode(entry).encode())
    assert await results.get("v1-00") is None
    assert [entry.key async for entry in results.entries()] == []
    await results.verify(lambda done, total: None)
    assert results.counts().damaged >= 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../victim", "/etc/passwd", "ab/../../victim", ""])
async def test_a_planted_file_name_is_neither_read_nor_removed(
    folder: Path, tmp_path: Path, results: DiskStore, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(LARGE)
    await results.put(entry_of(LARGE), LARGE)
    execute(folder, "UPDATE Cache SET filename = ?", name)
    assert await results.get("v1-00") is None
    assert victim.read_bytes() == LARGE
    assert Path("/etc/passwd").exists()


async def test_a_planted_link_is_not_followed(
    folder: Path, tmp_path: Path, results: DiskStore
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    (tmp_path / "elsewhere").write_bytes(LARGE)
    (file,) = files_in(folder)
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    assert await results.get("v1-00") is None


# --- damage -------------------------------------------------------------------------------


async def test_damage_after_the_first_read_is_noticed_even_with_the_time_put_back(
    folder: Path, results: DiskStore
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    assert await results.get("v1-00")
    (file,) = files_in(folder)
    before = file.stat()
    file.write_bytes(LARGE[:-1] + b"x")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await results.get("v1-00") is None
    assert results.counts().damaged == 1
    assert files_in(folder) == []


@pytest.mark.parametrize("left", [0, 1, len(LARGE) - 1])
async def test_a_truncated_file_is_a_miss_and_deleted(
    folder: Path, results: DiskStore, left: int
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    os.truncate(files_in(folder)[0], left)
    assert await results.get("v1-00") is None
    assert (await results.stats()).entries == 0


async def test_a_lost_file_is_a_miss_and_its_row_is_deleted(
    folder: Path, results: DiskStore
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    files_in(folder)[0].unlink()
    assert await results.get("v1-00") is None
    assert results.counts().damaged == 1
    assert (await results.stats()).entries == 0


@pytest.mark.parametrize(
    "change",
    [
        "tag = NULL",
        "tag = 7",
        "tag = X'ff00ff'",
        "tag = CAST(X'ff00ff' AS TEXT)",
        "tag = substr(tag, 2)",
        "tag = CAST(replace(CAST(tag AS TEXT), 'v1-00', 'v1-01') AS BLOB)",
        "filename = NULL",
        "filename = CAST(X'ff' AS TEXT)",
        "mode = 3",
        "mode = 'x'",
    ],
)
async def test_a_damaged_row_is_a_miss_and_deleted(
    folder: Path, results: DiskStore, change: str
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    execute(folder, "UPDATE Cache SET " + change)  # noqa: S608
    assert await results.get("v1-00") is None
    assert await results.get("v1-00") is None
    assert (await results.stats()).entries == 0
    assert results.counts().damaged == 1
    assert results.failure is None


async def test_what_is_damaged_can_be_stored_anew(folder: Path, results: DiskStore) -> None:
    await results.put(entry_of(LARGE), LARGE)
    files_in(folder)[0].write_bytes(b"")
    await results.get("v1-00")
    assert await results.put(entry_of(LARGE), LARGE)
    assert await results.get("v1-00")


@pytest.mark.parametrize("running", [True, False], ids=["while running", "before the start"])
async def test_a_damaged_index_is_put_aside_and_the_store_goes_on(
    folder: Path, clock: Clock, running: bool
) -> None:
    first = DiskStore(folder, MAX_BYTES, now_ms=clock)
    for number in range(200):
        await first.put(entry_of(SMALL, f"v1-{number}"), SMALL)
    await first.close()
    second = DiskStore(folder, MAX_BYTES, now_ms=clock)
    if running:
        await second.stats()
    with (folder / "cache.db").open("r+b") as index:
        index.seek(0 if not running else 4096)
        index.write(b"\xa5" * (4096 * 30))
    for number in range(200):
        await second.get(f"v1-{number}")
    assert await second.put(entry_of(LARGE), LARGE)
    assert await second.get("v1-00")
    assert second.counts().damaged >= 1
    assert second.failure is None
    await second.close()


async def test_a_folder_deleted_under_a_running_store_is_made_anew(
    folder: Path, results: DiskStore
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    shutil.rmtree(folder)
    assert await results.get("v1-00") is None
    await results.maintain()
    assert await results.put(entry_of(LARGE), LARGE)
    assert await results.get("v1-00")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# --- crashes ------------------------------------------------------------------------------

PUT_FOREVER = """
from tests.support.results import entry_of
from gateway.cache.disk import DiskStore

async def main(folder, seed):
    results = DiskStore(folder, 50_000_000)
    print("ready", flush=True)
    for number in range(100_000):
        body = bytes([number % 251]) * (1_000_000 + number)
        assert await results.put(entry_of(body, f"v1-{seed}-{number % 20}", expires_ms=9**15), body)
"""


async def test_a_process_killed_while_it_stores_leaves_whole_results_only(
    folder: Path, results: DiskStore, clock: Clock
) -> None:
    for seed in range(6):
        with program(PUT_FOREVER, folder, seed) as process:
            assert process.stdout
            process.stdout.readline()
            await asyncio.sleep(0.05 + 0.037 * seed)
            process.kill()
    verified = await results.verify(lambda done, total: None)
    assert verified.checked > 6
    assert verified.damaged == 0
    clock.now_ms = int(time.time() * 1000) + 1_000_000
    await results.maintain()
    assert len(files_in(folder)) == verified.checked
    assert (await results.stats()).entries == verified.checked


async def test_an_orphan_is_swept_once_it_can_be_no_put_under_way(
    folder: Path, results: DiskStore, clock: Clock
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    (file,) = files_in(folder)
    orphan = file.with_name("0" * 30 + ".val")
    shutil.copy(file, orphan)
    stranger = file.with_name("notes.txt")
    stranger.touch()
    clock.now_ms = int(time.time() * 1000) + 60_000
    await results.maintain()
    assert orphan.exists()
    clock.now_ms += 900_000
    await results.maintain()
    assert not orphan.exists()
    assert file.exists()
    assert stranger.exists()
    assert results.counts().swept == 1


# --- a disk that can't -------------------------------------------------------------------

STORE_ON_A_FULL_DISK = """
import resource
from pathlib import Path
from tests.support.results import LARGE, SMALL, entry_of
from gateway.cache.disk import DiskStore

async def main(folder, limit, bodies):
    kept = {"expires_ms": 9**15}
    results = DiskStore(folder, 50_000_000)
    assert await results.put(entry_of(LARGE, "v1-before", **kept), LARGE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    body = LARGE if bodies == "large" else SMALL
    stored = [await results.put(entry_of(body, f"v1-{n}", **kept), body) for n in range(300)]
    assert not stored[-1]
    assert await results.get("v1-before")
    assert len([entry async for entry in results.entries()]) == 1 + sum(stored)
    assert results.counts().failures == {"full": stored.count(False)}, results.counts()
    print(results.failure, len(list(Path(folder).glob("??/*.val"))))
    await results.close()
"""


@pytest.mark.parametrize(
    ("limit", "bodies"), [(60_000, "large"), (300_000, "small")], ids=["a body", "the index"]
)
async def test_a_full_disk_stores_nothing_leaves_nothing_half_and_still_answers(
    folder: Path, limit: int, bodies: str
) -> None:
    """The kernel refuses a second process to make files longer than a limit."""
    assert run(STORE_ON_A_FULL_DISK, folder, limit, bodies) == "full 1"


async def test_the_store_works_again_once_the_disk_does(folder: Path) -> None:
    folder.parent.joinpath("cache").touch()  # a file in the way
    results = DiskStore(folder, MAX_BYTES)
    assert not await results.put(entry_of(LARGE), LARGE)
    assert str(results.failure) == "unreachable"
    folder.unlink()
    assert await results.put(entry_of(LARGE, expires_ms=9**15), LARGE)
    assert await results.get("v1-00")
    assert results.failure is None
    await results.close()


@pytest.mark.parametrize("body", BODIES)
async def test_a_hit_needs_no_write_lock_and_a_put_that_does_gives_up(
    folder: Path, body: bytes
) -> None:
    results = DiskStore(folder, MAX_BYTES, timeout_seconds=1)
    await results.put(entry_of(body, expires_ms=9**15), body)
    with diskcache.Cache(str(folder)) as other, other.transact():
        assert await results.get("v1-00")
        assert not await results.put(entry_of(body, "v1-01"), body)
    assert results.counts().failures == {StoreFailure.TIMEOUT: 1}
    assert len(files_in(folder)) == (1 if body is LARGE else 0)
    assert str(results.failure) == "timeout"
    assert await results.put(entry_of(body, "v1-01"), body)
    assert results.failure is None
    await results.close()


async def test_calls_that_hang_cost_a_time_out_each_and_then_nothing() -> None:
    executor = BoundedExecutor("test", 2)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    for _ in range(2):
        with pytest.raises(TimeoutError):
            await executor.run(hang, 0.05)
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        await executor.run(lambda: None, 5)
    assert time.monotonic() - before < 1
    release.set()
    while True:
        try:
            assert await executor.run(lambda: 7, 5) == 7
            break
        except TimeoutError:
            await asyncio.sleep(0.01)
    executor.close()


# --- bounds -------------------------------------------------------------------------------


@pytest.mark.parametrize("bytes_each", [500, 20_000, 100_000])
async def test_the_size_bound_holds_after_every_put(
    folder: Path, clock: Clock, bytes_each: int
) -> None:
    results = DiskStore(folder, 600_000, now_ms=clock)
    for number in range(1_500 if bytes_each == 500 else 100):
        clock.now_ms += 1
        body = os.urandom(bytes_each)
        assert await results.put(entry_of(body, f"v1-{number}"), body)
        assert (await results.stats()).bytes <= 600_000
    stats = await results.stats()
    assert stats.bytes > 350_000
    assert results.counts().evicted > 0
    await results.close()
    assert used_on_disk(folder) < 600_000 + 100_000  # free pages of the index come on top


async def test_the_least_recently_used_goes_first(folder: Path, clock: Clock) -> None:
    results = DiskStore(folder, 700_000, now_ms=clock)
    for number in range(5):
        clock.now_ms += 1_000
        await results.put(entry_of(LARGE, f"v1-{number}"), LARGE)
    clock.now_ms += 1_000
    assert await results.get("v1-0")
    assert await results.get("v1-2")
    for number in range(5, 8):
        clock.now_ms += 1_000
        await results.put(entry_of(LARGE, f"v1-{number}"), LARGE)
    left = {entry.key async for entry in results.entries()}
    assert {"v1-0", "v1-2", "v1-7"} <= left
    assert not {"v1-1", "v1-3"} & left
    await results.close()


USE = """
from tests.support.results import NOW_MS
from gateway.cache.disk import DiskStore

async def main(folder, key):
    results = DiskStore(folder, 700_000, now_ms=lambda: NOW_MS + 60_000)
    print((await results.get(key)).entry.key)
    await results.close()
"""


async def test_what_another_process_used_is_kept(folder: Path, clock: Clock) -> None:
    results = DiskStore(folder, 700_000, now_ms=clock)
    for number in range(5):
        await results.put(entry_of(LARGE, f"v1-{number}"), LARGE)
    assert run(USE, folder, "v1-0") == "v1-0"
    for number in range(5, 8):
        await results.put(entry_of(LARGE, f"v1-{number}"), LARGE)
    assert await results.get("v1-0")
    assert await results.get("v1-1") is None
    await results.close()


async def test_what_has_expired_goes_before_what_was_used_least(folder: Path, clock: Clock) -> None:
    results = DiskStore(folder, 700_000, now_ms=clock)
    await results.put(entry_of(LARGE, "v1-oldest"), LARGE)
    for number in range(4):
        clock.now_ms += 1_000
        entry = entry_of(LARGE, f"v1-{number}", expires_ms=NOW_MS + 10_000)
        await results.put(entry, LARGE)
    clock.now_ms = NOW_MS + 10_000
    for number in range(4):
        await results.put(entry_of(LARGE, f"v2-{number}"), LARGE)
    assert await results.get("v1-oldest")
    assert results.counts().expired == 4
    assert results.counts().evicted == 0
    await results.close()


@pytest.mark.parametrize("body", BODIES)
async def test_what_has_expired_is_removed(
    folder: Path, results: DiskStore, clock: Clock, body: bytes
) -> None:
    for number in range(100):
        await results.put(entry_of(body, f"v1-{number}"), body)
    kept = entry_of(body, "v1-kept", expires_ms=NOW_MS + 2 * DAY_MS)
    await results.put(kept, body)
    clock.now_ms += DAY_MS
    await results.maintain()
    assert [entry async for entry in results.entries()] == [kept]
    assert len(files_in(folder)) == (1 if body is LARGE else 0)
    assert results.counts().expired == 100


async def test_a_result_larger_than_the_store_is_refused_and_nothing_evicted(
    folder: Path, clock: Clock
) -> None:
    results = DiskStore(folder, 700_000, now_ms=clock)
    await results.put(entry_of(LARGE), LARGE)
    huge = bytes(700_000)
    stored = Stored(entry_of(huge, "v1-huge"), huge)
    assert not await results.put(*stored)
    assert await results.build_and_put(lambda: stored) == (stored, False)
    assert results.counts().failures == {StoreFailure.TOO_LARGE: 2}
    assert results.failure is None
    assert await results.get("v1-00")
    await results.close()


async def test_a_lowered_bound_holds_after_the_first_round_of_upkeep(
    folder: Path, results: DiskStore, clock: Clock
) -> None:
    for number in range(20):
        await results.put(entry_of(LARGE, f"v1-{number}"), LARGE)
    lowered = DiskStore(folder, 700_000, now_ms=clock)
    await lowered.maintain()
    assert (await lowered.stats()).bytes <= 700_000
    await lowered.close()


async def test_a_purged_index_gives_its_pages_back(folder: Path, results: DiskStore) -> None:
    body = bytes(15_000)
    for number in range(500):
        await results.put(entry_of(body, f"v1-{number}"), body)
    before = used_on_disk(folder)
    await results.purge(lambda entry: True)
    await results.maintain()
    await results.close()
    assert used_on_disk(folder) < before / 2


# --- processes ----------------------------------------------------------------------------

STORE_AS_TOLD = """
from tests.support.results import LARGE, entry_of
from gateway.cache.disk import DiskStore

async def main(folder):
    results = DiskStore(folder, 50_000_000)
    for line in sys.stdin:
        act, key, *rest = line.split()
        if act == "put":
            body = rest[0].encode() * 50_000
            print(await results.put(entry_of(body, key, expires_ms=9**15), body), flush=True)
        elif act == "delete":
            print(await results.delete(key), flush=True)
"""


async def test_what_one_process_stores_replaces_or_deletes_another_sees_at_once(
    folder: Path, results: DiskStore
) -> None:
    with program(STORE_AS_TOLD, folder) as other:

        def ask(line: str) -> str:
            assert other.stdin
            assert other.stdout
            print(line, file=other.stdin, flush=True)
            return other.stdout.readline().strip()

        assert await results.get("v1-0") is None
        for letter in "ab":
            assert ask(f"put v1-0 {letter}") == "True"
            stored = await results.get("v1-0")
            assert stored
            assert stored.body == letter.encode() * 50_000
        assert ask("delete v1-0") == "True"
        assert await results.get("v1-0") is None


async def test_processes_that_open_and_write_one_new_folder_at_once_all_work(
    folder: Path,
) -> None:
    source = """
from tests.support.results import entry_of
from gateway.cache.disk import DiskStore

async def main(folder, number):
    results = DiskStore(folder, 50_000_000, timeout_seconds=20)
    for place in range(40):
        body = number.encode() * 20_000
        assert await results.put(entry_of(body, f"v1-{place}", expires_ms=9**15), body)
    await results.close()
"""
    processes = [program(source, folder, number) for number in range(4)]
    for process in processes:
        with process:
            assert await asyncio.to_thread(process.wait) == 0
    results = DiskStore(folder, MAX_BYTES)
    verified = await results.verify(lambda done, total: None)
    assert (verified.checked, verified.damaged) == (40, 0)
    assert len(files_in(folder)) == 40
    await results.close()


async def test_upkeep_runs_by_itself_once_started(folder: Path, clock: Clock) -> None:
    results = DiskStore(folder, MAX_BYTES, now_ms=clock)
    await results.put(entry_of(LARGE), LARGE)
    clock.now_ms += DAY_MS
    await results.start()
    for _ in range(500):
        await asyncio.sleep(0.01)
        if results.counts().expired:
            break
    assert results.counts().expired == 1
    await results.close()


async def test_a_local_copy_older_than_a_refresh_elsewhere_is_dropped(
    results: DiskStore,
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    assert await results.drop_local_copy("v1-00", older_than_ms=NOW_MS + 1)
    assert await results.get("v1-00") is None


async def test_a_folder_of_version_0_1_is_read_as_it_is(folder: Path, results: DiskStore) -> None:
    """It was made by diskcache, with the settings that version 0.1 gave it."""
    file = "ab/" + "0" * 30 + ".val"
    with diskcache.Cache(str(folder), eviction_policy="none", cull_limit=0) as old:
        for key, body in (("v1-small", SMALL), ("v1-large", b"")):
            old.set(key, body, tag=encode(entry_of(body or LARGE, key)).encode())
    (folder / "ab").mkdir()
    (folder / file).write_bytes(LARGE)
    execute(
        folder,
        "UPDATE Cache SET mode = 2, size = ?, value = NULL, filename = ? WHERE key = 'v1-large'",
        len(LARGE),
        file,
    )
    for key, body in (("v1-small", SMALL), ("v1-large", LARGE)):
        stored = await results.get(key)
        assert stored
        assert stored.body == body
    assert (await results.stats()).entries == 2
    assert await results.put(entry_of(LARGE, "v1-new"), LARGE)
    assert await results.purge(lambda entry: entry.key != "v1-new") == 2
    assert (await results.stats()).entries == 1
    assert len(files_in(folder)) == 1


async def test_a_folder_that_diskcache_would_look_for_elsewhere_is_refused(tmp_path: Path) -> None:
    results = DiskStore(tmp_path / "$HOME", MAX_BYTES)
    assert not await results.put(entry_of(LARGE, expires_ms=9**15), LARGE)
    assert results.failure
    assert list(tmp_path.iterdir()) == []
    await results.close()


async def test_a_closed_store_misses_and_can_be_closed_again(
    folder: Path, results: DiskStore
) -> None:
    await results.put(entry_of(LARGE), LARGE)
    await results.close()
    assert await results.get("v1-00") is None
    await results.close()


async def test_nothing_is_touched_before_the_first_call(folder: Path) -> None:
    results = DiskStore(folder, MAX_BYTES)
    assert not folder.exists()
    assert results.failure is None
    await results.close()
