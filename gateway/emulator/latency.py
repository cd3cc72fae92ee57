"""Every wait of a call in one place, so that all can be ended at once."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Receive


class Waits:
    """Latencies and calls that hang; belongs to one event loop."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self._release = asyncio.Event()
        self._hung = 0

    async def pause(self, seconds: float) -> None:
        """Wait this long, or until `close`."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), seconds)

    async def hang(self, receive: Receive) -> bool:
        """Wait until released (True), or until the client disconnects or `close` (False)."""
        release = self._release
        waits = [
            asyncio.ensure_future(_disconnected(receive)),
            asyncio.ensure_future(release.wait()),
        ]
        self._hung += 1
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hung -= 1
            for wait in waits:
                wait.cancel()
        return release.is_set() and not self._closing.is_set()

    def release(self) -> int:
        """Let every call continue that hangs now; returns their number."""
        self._release.set()
        self._release = asyncio.Event()
        return self._hung

    def close(self) -> None:
        """End all waits, now and from now on."""
        self._closing.set()
        self._release.set()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
