"""Thumbnails, each made by a process with limits (`thumbnail_process`), and kept in memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

_SCRIPT = Path(__file__).with_name("thumbnail_process.py")
_SECONDS = 30.0
"""By the clock; the process has a limit of computing time of its own."""
_AT_ONCE = 2
_MOST_KEPT = 500
MOST_PICTURE_BYTES = 50_000_000


class Thumbnails:
    """Makes thumbnails, a few at a time, and keeps the latest."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._kept: dict[str, bytes] = {}

    def kept(self, name: str) -> bytes | None:
        """The thumbnail that was made under this name, if it is still there."""
        return self._kept.get(name)

    async def make(self, name: str, read: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """A WebP of at most 480 pixels a side; None where none can be made of the picture.

        The picture is read when its turn comes: those that wait hold no megabytes.
        """
        async with self._free:
            made = self._kept.get(name)
            if not made and (picture := await read()) and len(picture) <= MOST_PICTURE_BYTES:
                made = await asyncio.to_thread(_run, picture)
        if made:
            self._kept[name] = made
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return made

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)


def _run(picture: bytes) -> bytes | None:
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-I", str(_SCRIPT)],
            input=picture,
            capture_output=True,
            timeout=_SECONDS,
            env={},
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
