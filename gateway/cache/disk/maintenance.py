"""Background maintenance of a disk store: uses, expiry, size limit, orphaned files."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

from gateway.cache.disk.eviction import PAUSE_SECONDS, Eviction
from gateway.cache.disk.index import Index
from gateway.cache.disk.index_access import IndexAccess, Work
from gateway.cache.result_store import StoreCounter

PENDING_USES = 1_000
"""Number of collected uses that triggers a round at once."""
SPARE_PAGES = 256
"""Pages of the index returned to the file system per step: a megabyte."""
ROUND_SECONDS = 10.0
SWEEP_SECONDS = 3_600.0
GRACE_SECONDS = 900.0
"""A younger file without a row may belong to a put in progress."""


class Maintenance:
    """Runs a store's maintenance rounds and sweeps."""

    def __init__(
        self,
        access: IndexAccess,
        eviction: Eviction,
        counter: StoreCounter,
        now_ms: Callable[[], int],
    ) -> None:
        self._access = access
        self._eviction = eviction
        self._counter = counter
        self._now_ms = now_ms
        self._many_uses = asyncio.Event()

    def record_use(self, key: str) -> None:
        """Record that an entry was served; written with the next round."""
        if self._eviction.record_use(key) >= PENDING_USES:
            self._many_uses.set()

    async def run(self) -> None:
        """Rounds, and a sweep at the start and every hour, until cancelled."""
        swept = float("-inf")
        while True:
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()
                await self.sweep()
            await self.round()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._many_uses.wait(), ROUND_SECONDS)

    async def round(self) -> None:
        """Write uses, delete expired results, enforce the size limit."""
        self._many_uses.clear()
        await self._counter.attempt("maintenance", self._round(), None)

    async def sweep(self) -> None:
        """Remove orphans: files without a row, left by a crash between file and row."""
        await self._counter.attempt("sweep", self._sweep(), None)

    async def _round(self) -> None:
        await self._access.close_replaced()
        await self._access.write(self._eviction.write_uses)
        await self._repeat(self._eviction.remove_expired)
        await self._access.write(self._eviction.make_room)
        await self._repeat(lambda index: index.shrink(SPARE_PAGES))

    async def _sweep(self) -> None:
        before = self._now_ms() / 1000 - GRACE_SECONDS
        await self._access.close_replaced()  # in a wrong index, every file would be an orphan
        for folder in await self._access.read(lambda index: index.files.folders()):
            remove = partial(Index.remove_orphans, folder=folder, unix_seconds=before)
            self._counter.count("swept", await self._access.read(remove))

    async def _repeat(self, step: Work[bool]) -> None:
        """Write step by step, with pauses for the writers of other processes."""
        more = True
        while more:
            more = await self._access.write(step)
            await asyncio.sleep(PAUSE_SECONDS)
