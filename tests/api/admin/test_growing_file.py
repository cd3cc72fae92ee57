"""A file that is sent while it is written."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.admin.growing_file import Abandoned, GrowingFile


async def test_what_is_written_is_sent_before_the_end_and_all_of_it_by_then() -> None:
    file, read = GrowingFile(), asyncio.Event()

    async def write() -> None:
        file.write("day,cost\n")
        await read.wait()
        for number in range(10_000):
            file.write(f"2026-11-25,{number}\n")
        file.end()

    pieces = file.pieces(write())
    assert await anext(pieces) == b"day,cost\n"
    read.set()
    rest = b"".join([piece async for piece in pieces])
    assert rest.decode().splitlines() == [f"2026-11-25,{number}" for number in range(10_000)]


async def test_a_failure_of_the_writer_reaches_the_reader() -> None:
    file = GrowingFile()

    async def write() -> None:
        try:
            raise OSError("no space")
        finally:
            file.end()

    with pytest.raises(OSError, match="no space"):
        await anext(file.pieces(write()))


async def test_nothing_more_is_written_when_the_reader_has_left() -> None:
    file, left, stopped = GrowingFile(), asyncio.Event(), asyncio.Event()

    async def write() -> None:
        file.write("a")
        await left.wait()
        with pytest.raises(Abandoned):
            file.write("b")
        file.end()
        stopped.set()

    pieces = file.pieces(write())
    assert await anext(pieces) == b"a"
    await pieces.aclose()
    left.set()
    await asyncio.wait_for(stopped.wait(), 5)
