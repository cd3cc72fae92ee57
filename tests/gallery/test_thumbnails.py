"""Thumbnails are made in a process with limits, and of three kinds of pictures only."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Awaitable, Callable

import pytest
from PIL import Image

from gateway.gallery.thumbnails import Thumbnails
from tests.support.serving import PHOTOGRAPH


def png_of(width: int, height: int) -> bytes:
    """A small file that decodes to a picture of this size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + width // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("L", (10, 10)).save(file, "GIF")
    return file.getvalue()


def reading(picture: bytes) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        return picture

    return read


async def test_a_photograph_becomes_a_small_webp_once() -> None:
    thumbnails = Thumbnails()
    made = await thumbnails.make("a", reading(PHOTOGRAPH))

    assert made is not None
    with Image.open(io.BytesIO(made)) as picture:
        assert (picture.format, max(picture.size) <= 480) == ("WEBP", True)
    assert len(made) < 60_000
    assert thumbnails.kept("a") == made


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(png_of(20_000, 20_000), id="a bomb"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="an SVG"),
        pytest.param(gif(), id="a GIF"),
        pytest.param(PHOTOGRAPH[:5_000], id="half a picture"),
    ],
)
async def test_anything_else_has_none(hostile: bytes) -> None:
    assert await Thumbnails().make("a", reading(hostile)) is None


async def test_pictures_that_wait_for_their_turn_are_not_read_yet() -> None:
    thumbnails, reads, turn = Thumbnails(), 0, asyncio.Event()

    async def read() -> None:
        nonlocal reads
        reads += 1
        await turn.wait()

    waiting = [asyncio.ensure_future(thumbnails.make(str(i), read)) for i in range(50)]
    await asyncio.sleep(0.01)
    read_at_once = reads
    turn.set()

    assert (read_at_once, await asyncio.gather(*waiting)) == (2, [None] * 50)
