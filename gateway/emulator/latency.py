"""Every wait of a call in one place, so that all can be ended at once."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Receive


class Waits:
    """Latencies and hung calls; belongs to one event loop."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self._release = asyncio.Event()
        self._hung = 0

    async def pause(self, seconds: float) -> None:
        """Wait this long, or until everything closes."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closing.wait()

    async def hang(self, receive: Receive) -> bool:
        """Wait until released (true), or until the client leaves or all closes (false)."""
        release = self._release
        leaving = asyncio.ensure_future(_gone(receive))
        freeing = asyncio.ensure_future(release.wait())
        self._hung += 1
        try:
            await asyncio.wait({leaving, freeing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hung -= 1
            leaving.cancel()
            freeing.cancel()
        return release.is_set() and not self._closing.is_set()

    def release(self) -> int:
        """Let every call go that hangs now; how many there are."""
        self._release.set()
        self._release = asyncio.Event()
        return self._hung

    def close(self) -> None:
        """End all waits, now and from now on."""
        self._closing.set()
        self._release.set()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
