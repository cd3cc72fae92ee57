"""The bytes of one request, in memory or in a file without a name."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.model.errors import Refusal
from gateway.uploads.spool import Spool, SpoolMemory


def pattern(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


async def filled(spool: Spool, data: bytes, step: int = 1_000) -> Spool:
    for start in range(0, len(data), step):
        spool.append(memoryview(data)[start : start + step])
        if spool.full:
            await spool.spill()
    return spool


@pytest.mark.parametrize("memory_bytes", [100, 5_000, 1_000_000])
async def test_every_range_reads_back_wherever_it_lies(memory_bytes: int, tmp_path: Path) -> None:
    data = pattern(12_345)
    spool = await filled(Spool(SpoolMemory(memory_bytes), str(tmp_path)), data)
    for offset, size in [(0, 12_345), (4_999, 3), (0, 0), (12_000, 999), (3_000, 9_000)]:
        assert spool.read(offset, size) == data[offset : offset + size]
        size = min(size, len(data) - offset)
        chunks = [chunk async for chunk in spool.chunks(offset, size, 700)]
        assert b"".join(chunks) == data[offset : offset + size]
        assert all(len(chunk) <= 700 for chunk in chunks)
    assert spool.size == len(data)
    spool.close()


async def test_a_range_beyond_the_end_is_an_error_and_no_short_body() -> None:
    spool = await filled(Spool(), b"abc")
    with pytest.raises(EOFError):
        _ = [chunk async for chunk in spool.chunks(0, 4)]
    spool.close()


async def test_a_large_body_leaves_no_name_behind_and_frees_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    before = len(os.listdir("/proc/self/fd"))
    spool = await filled(Spool(SpoolMemory(1_000), str(folder)), pattern(10_000))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert list(folder.iterdir()) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_small_body_never_touches_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = await filled(Spool(SpoolMemory(20_000), str(folder)), pattern(10_000))
    assert not folder.exists()
    spool.close()


async def test_memory_stays_flat_once_the_file_is_begun(tmp_path: Path) -> None:
    spool = Spool(SpoolMemory(10_000), str(tmp_path))
    piece = bytes(64 * 1024)
    for _ in range(200):
        spool.append(piece)
        if spool.full:
            await spool.spill()
        assert spool.in_memory <= 2 << 20
    assert spool.size == 200 * len(piece)
    spool.close()


async def test_spools_share_their_room_and_give_it_back(tmp_path: Path) -> None:
    room = SpoolMemory(3 << 20)
    first = await filled(Spool(room, str(tmp_path)), pattern(2 << 20), 64 * 1024)
    assert first.in_memory == 2 << 20
    second = await filled(Spool(room, str(tmp_path)), pattern(4 << 20), 64 * 1024)
    assert second.in_memory < 2 << 20
    assert second.read(0, 4 << 20) == pattern(4 << 20)
    assert room.taken_bytes == first.in_memory + second.in_memory
    first.close()
    second.close()
    assert room.taken_bytes == 0


async def test_pieces_of_a_byte_each_take_no_more_memory_than_their_bytes() -> None:
    data = pattern(300_000)
    tracemalloc.start()
    spool = await filled(Spool(), data, 1)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spool.read(0, len(data)) == data
    assert taken < 2 * len(data)
    spool.close()


async def test_the_last_of_its_holders_frees_it() -> None:
    spool = await filled(Spool(), b"abc")
    spool.share()
    spool.close()
    assert spool.read(0, 3) == b"abc"
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.read(0, 3)
    with pytest.raises(ValueError, match="closed"):
        spool.append(b"more")
    with pytest.raises(ValueError, match="closed"):
        spool.share()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 64 KiB, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("small_files")
async def test_a_disk_that_takes_no_more_is_a_refusal_that_may_be_tried_again(
    tmp_path: Path,
) -> None:
    spool = Spool(SpoolMemory(1_000), str(tmp_path))
    with pytest.raises(Refusal) as refused:
        await filled(spool, pattern(3 << 20))
    assert refused.value.code == "storage_full"
    assert refused.value.retry_after_seconds
    spool.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk at hand")
async def test_a_full_disk_says_that_there_is_no_room(tmp_path: Path) -> None:
    spool = await filled(Spool(SpoolMemory(1_000), str(tmp_path)), pattern(1_000))
    assert spool._file is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, spool._file.fileno())
    os.close(full)
    spool.append(b"x")
    with pytest.raises(Refusal, match="no room"):
        await spool.spill()
    spool.close()


async def test_a_folder_that_cannot_be_made_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(SpoolMemory(10), str(tmp_path / "file" / "folder"))
    with pytest.raises(Refusal, match="storage_full"):
        await filled(spool, pattern(100))
    spool.close()


async def test_closing_during_a_write_waits_for_nothing_and_leaks_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        spool = Spool(SpoolMemory(1), str(tmp_path))
        spool.append(bytes(8 << 20))
        writing = asyncio.ensure_future(spool.spill())
        await asyncio.sleep(0)
        writing.cancel()
        spool.close()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(os.listdir("/proc/self/fd")) <= before
