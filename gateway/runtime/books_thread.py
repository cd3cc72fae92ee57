"""Long work on the books, beside the event loop that serves edits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gateway.database.database import Database
from gateway.runtime.backends import open_database
from gateway.settings import StateSettings

Result = TypeVar("Result")
THREADS = 2


class BooksThread:
    """Runs work in threads with an event loop and connections to the state of their own.

    Reading a statement, comparing it and formatting an export take seconds of CPU between their
    queries; on PostgreSQL those would run on the loop that awaits the queries. Work that exceeds
    the threads waits its turn.
    """

    def __init__(self, state: StateSettings) -> None:
        self._state = state
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="books")
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Callable[[Database], Awaitable[Result]]) -> Result:
        """Run `work` to its end, also where the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(
            loop.run_in_executor(self._executor, lambda: asyncio.run(self._supervised(work)))
        )

    async def close(self) -> None:
        """Cancel what runs, between two of its transactions, and wait for its end."""
        for task in list(self._running):
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                task.get_loop().call_soon_threadsafe(task.cancel)
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    async def _supervised(self, work: Callable[[Database], Awaitable[Result]]) -> Result:
        task = asyncio.ensure_future(self._connected(work))
        self._running.add(task)
        try:
            return await task
        finally:
            self._running.discard(task)

    async def _connected(self, work: Callable[[Database], Awaitable[Result]]) -> Result:
        database = open_database(self._state)
        try:
            return await work(database)
        finally:
            await database.close()
