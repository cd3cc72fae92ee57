"""Requests that go on without their clients: the process ends after them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

MOST_RUNNING = 1_000


class DetachedRequests:
    """The tasks of requests that may be answered later.

    No connection bounds their number, so there is a maximum per process.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_awaited(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def running(self) -> int:
        return len(self._tasks)

    @property
    def has_room(self) -> bool:
        return len(self._tasks) < MOST_RUNNING

    async def drain(self, seconds: float) -> None:
        """Wait for all, then cancel the rest, each of which keeps why it was cut short."""
        for wait_seconds in (seconds, seconds):
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=wait_seconds)
            for task in self._tasks:
                task.cancel()


async def _awaited(work: Awaitable[None]) -> None:
    await work
