"""What a disk store does besides answering: room, access times, expiry, orphans."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial

from gateway.cache.disk.index import Index
from gateway.cache.disk.index_access import DiskStoreError, IndexAccess, Work
from gateway.cache.result_store import Tally

BATCH = 64
"""Rows in one write transaction: other processes wait a few milliseconds for it."""
BREATH_SECONDS = 0.002
"""Between two batches, so that another process's writer gets its turn."""
PENDING_USES = 1_000
"""So many access times waiting are written at once."""
SPARE_PAGES = 256
"""A step of giving pages of the index back: a megabyte."""
ROUND_SECONDS = 10.0
SWEEP_SECONDS = 3_600.0
GRACE_SECONDS = 900.0
"""A file without a row may be a put under way; one that is so old is an orphan."""


class Maintenance:
    """Keeps a store within its bounds. Methods that take an index run in its threads."""

    def __init__(
        self, access: IndexAccess, tally: Tally, max_bytes: int, now_ms: Callable[[], int]
    ) -> None:
        self._access = access
        self._tally = tally
        self._max_bytes = max_bytes
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._uses: dict[str, float] = {}
        self._many = asyncio.Event()

    def used(self, key: str) -> None:
        """Note that an entry was served now; written with the next batch."""
        with self._lock:
            self._uses[key] = self._now_ms() / 1000
            many = len(self._uses) >= PENDING_USES
        if many:
            self._many.set()

    async def run(self) -> None:
        """Rounds, and a sweep at the start and every hour, until cancelled."""
        swept = float("-inf")
        while True:
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()
                await self.sweep()
            await self.round()
            with contextlib.suppress(TimeoutError):  # of the wait: then it is time, too
                await asyncio.wait_for(self._many.wait(), ROUND_SECONDS)

    async def round(self) -> None:
        """Write access times, delete what has expired, and see that the bound holds."""
        self._many.clear()
        try:
            await self._access.renew()
            await self._access.write(self.flush)
            await self._until_done(lambda index: self._expire(index) == BATCH)
            await self._access.write(partial(self.make_room, needed_bytes=0))
            await self._until_done(lambda index: index.shrink(SPARE_PAGES))
        except DiskStoreError as fault:
            self._tally.failed("upkeep", fault.failure)
        else:
            self._tally.worked("upkeep")

    async def sweep(self) -> None:
        """Remove files that no row names: what a crash left between a file and its row."""
        before = self._now_ms() / 1000 - GRACE_SECONDS
        try:
            await self._access.renew()  # by another index's word, every file would be an orphan
            for folder in await self._access.read(lambda index: index.files.folders()):
                sweep = partial(Index.sweep, folder=folder, unix_seconds=before)
                self._tally.count("swept", await self._access.read(sweep))
        except DiskStoreError as fault:
            self._tally.failed("sweep", fault.failure)
        else:
            self._tally.worked("sweep")

    def make_room(self, index: Index, needed_bytes: int) -> None:
        """Delete the expired, then the least recently used, until so much fits the bound."""
        while (over_bytes := index.used_bytes() + needed_bytes - self._max_bytes) > 0:
            self.flush(index)
            if self._expire(index):
                continue
            evicted = index.evict(over_bytes, BATCH)
            self._tally.count("evicted", evicted)
            if evicted == 0:
                return
            if evicted == BATCH:
                time.sleep(BREATH_SECONDS)

    def flush(self, index: Index) -> None:
        """Write the access times that were gathered; any that can't be written are let go."""
        with self._lock:
            waiting, self._uses = list(self._uses.items()), {}
        for start in range(0, len(waiting), BATCH):
            index.touch(waiting[start : start + BATCH])

    async def _until_done(self, step: Work[bool]) -> None:
        """Write step by step, with a breath for other writers in between."""
        more = True
        while more:
            more = await self._access.write(step)
            await asyncio.sleep(BREATH_SECONDS)

    def _expire(self, index: Index) -> int:
        expired = index.expire(self._now_ms() / 1000, BATCH)
        self._tally.count("expired", expired)
        return expired
