"""Results on the local disk, shared by any number of processes of one machine.

The event loop never waits for the disk: work runs in threads, each call with a time-out, and a
failed read is a miss. A hit only reads; times of last use are written in batches, seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from gateway.cache.disk.entry_reader import VerifiedFiles, decode_row, read_result
from gateway.cache.disk.eviction import BATCH, Eviction
from gateway.cache.disk.index import Index, IndexRow
from gateway.cache.disk.index_access import IndexAccess, Work
from gateway.cache.disk.maintenance import Maintenance
from gateway.cache.disk.memory_cache import MemoryCache
from gateway.cache.result_store import (
    Counts,
    Matches,
    Progress,
    StoreCounter,
    Stored,
    StoreError,
    StoreFailure,
    StoreStats,
    Verified,
    or_unavailable,
)
from gateway.cache.rules.entry import DamagedEntry, Entry, encode, may_serve

LISTED = 500
CHECKED = 16
PATIENCE = 15
"""Time-outs allowed to one step of a listing, purge or check."""
INDEX_BYTES = 131_072
"""Room for an index with one entry."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class DiskStore:
    """The store of `disk:PATH`: a `cache.result_store.ResultStore`."""

    def __init__(
        self,
        folder: str | Path,
        max_bytes: int,
        timeout_seconds: float = 2.0,
        now_ms: Callable[[], int] = _now_ms,
        memory_bytes: int = 0,
    ) -> None:
        """Touches nothing yet. Up to `memory_bytes` of frequent results are kept in memory."""
        self._max_bytes = max_bytes
        self._now_ms = now_ms
        self._counter = StoreCounter()
        self._verified = VerifiedFiles()
        count_damaged = partial(self._counter.count, "damaged")
        self._access = IndexAccess(Path(folder).absolute(), timeout_seconds, count_damaged)
        self._eviction = Eviction(self._counter, max_bytes, now_ms)
        self._maintenance = Maintenance(self._access, self._eviction, self._counter, now_ms)
        self._memory = MemoryCache(memory_bytes)
        self._task: asyncio.Task[None] | None = None
        self._renewals = set[asyncio.Task[Stored | None]]()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._maintenance.run(), name="maintenance of results")

    async def close(self) -> None:
        for renewal in self._renewals:
            renewal.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        write_uses = self._access.write(self._eviction.write_uses)
        await self._counter.attempt("maintenance", write_uses, None)
        await self._access.close()

    async def maintain(self) -> None:
        """Run one round of maintenance and one sweep now, instead of in the background."""
        await self._maintenance.round()
        await self._maintenance.sweep()

    async def get(self, key: str) -> Stored | None:
        generation, now_ms = self._access.generation_of(key), self._now_ms()
        found = self._memory.find(key, generation)
        if found and may_serve(found.entry, now_ms):
            if self._memory.should_renew(key):
                renewal = asyncio.create_task(self._read(key, generation, now_ms))
                self._renewals.add(renewal)
                renewal.add_done_callback(self._renewals.discard)
            return found
        return await self._read(key, generation, now_ms)

    async def _read(self, key: str, generation: bytes, now_ms: int) -> Stored | None:
        reading: Work[Stored | IndexRow | None] = partial(
            read_result, verified=self._verified, key=key, now_ms=now_ms
        )
        found = await self._counter.attempt("get", self._access.read(reading), None)
        if isinstance(found, IndexRow):
            await self._counter.attempt("delete", self._delete_damaged([found]), None)
            return None
        if found:
            self._maintenance.record_use(key)
            self._memory.add_read(key, generation, found)
        return found

    async def put(self, entry: Entry, body: bytes) -> bool:
        return await self._attempt_write("put", partial(self._write, stored=Stored(entry, body)))

    async def build_and_put(self, build: Callable[[], Stored]) -> tuple[Stored, bool]:
        built: list[Stored] = []

        def write(index: Index) -> bool:
            built.append(build())
            return self._write(index, built[0])

        stored = await self._attempt_write("put", write)
        return built[0] if built else await asyncio.to_thread(build), stored

    async def delete(self, key: str) -> bool:
        return await self._attempt_write("delete", partial(_delete, key=key, older_than_ms=None))

    async def drop_local_copy(self, key: str, older_than_ms: int | None = None) -> bool:
        deleting = partial(_delete, key=key, older_than_ms=older_than_ms)
        return await self._attempt_write("delete", deleting)

    async def entries(self) -> AsyncIterator[Entry]:
        async for rows in self._batches(LISTED):
            for row in rows:
                with contextlib.suppress(DamagedEntry):  # a get or a check deletes it
                    yield decode_row(row)

    async def purge(self, matches: Matches) -> int:
        purged = 0
        async for rows in self._batches(LISTED):
            sorting = partial(_sort, rows=rows, matches=matches)
            matching, damaged = await or_unavailable(self._access.read(sorting, PATIENCE))
            await or_unavailable(self._delete_damaged(damaged))
            for start in range(0, len(matching), BATCH):
                removing = partial(Index.remove, rows=matching[start : start + BATCH])
                purged += len(await or_unavailable(self._access.write(removing, PATIENCE)))
        return purged

    async def verify(self, progress: Progress) -> Verified:
        total = (await self.stats()).entries
        checked = damaged = 0
        async for rows in self._batches(CHECKED):
            checking = partial(_find_damaged, rows=rows)
            found = await or_unavailable(self._access.read(checking, PATIENCE))
            damaged += await or_unavailable(self._delete_damaged(found))
            checked += len(rows)
            progress(checked, max(total, checked))
        return Verified(checked, damaged)

    async def stats(self) -> StoreStats:
        return await or_unavailable(self._access.read(_stats, PATIENCE))

    async def local_stats(self) -> StoreStats:
        return await self.stats()

    def counts(self) -> Counts:
        return self._counter.counts()

    @property
    def failure(self) -> StoreFailure | None:
        return self._counter.failure

    async def _attempt_write(self, operation: str, work: Work[bool]) -> bool:
        return await self._counter.attempt(operation, self._access.write(work), False)

    def _write(self, index: Index, stored: Stored) -> bool:
        entry, body = stored
        size = len(encode(entry)) + len(body)
        if size + INDEX_BYTES > self._max_bytes:
            raise StoreError(StoreFailure.TOO_LARGE, f"{size} bytes exceed the store's limit")
        self._eviction.make_room(index, size)
        index.insert(entry, body, self._now_ms() / 1000)
        self._eviction.make_room(index)  # the index has grown, and other processes write too
        return True

    async def _delete_damaged(self, rows: list[IndexRow]) -> int:
        """Delete damaged rows and return how many still existed."""
        if not rows:
            return 0
        removed = len(await self._access.write(partial(Index.remove, rows=rows)))
        self._counter.count("damaged", removed)
        return removed

    async def _batches(self, limit: int) -> AsyncIterator[list[IndexRow]]:
        last = 0
        while True:
            following = partial(Index.list_after, rowid=last, limit=limit)
            rows = await or_unavailable(self._access.read(following, PATIENCE))
            if not rows:
                return
            yield rows
            last = rows[-1].rowid


def _delete(index: Index, key: str, older_than_ms: int | None) -> bool:
    """Delete the entry of a key, unless it was created at `older_than_ms` or later."""
    while row := index.find(key):
        with contextlib.suppress(DamagedEntry):
            if older_than_ms is not None and decode_row(row).created_ms >= older_than_ms:
                break
        index.remove([row])
    return True


def _sort(
    index: Index, rows: list[IndexRow], matches: Matches
) -> tuple[list[IndexRow], list[IndexRow]]:
    """The matching rows, and the damaged ones."""
    matching: list[IndexRow] = []
    damaged: list[IndexRow] = []
    for row in rows:
        try:
            if matches(decode_row(row)):
                matching.append(row)
        except DamagedEntry:
            damaged.append(row)
    return matching, damaged


def _find_damaged(index: Index, rows: list[IndexRow]) -> list[IndexRow]:
    """The rows whose entries are damaged; reads every body."""
    keys = (str(row.key, "utf-8", "replace") for row in rows if isinstance(row.key, bytes))
    found = (read_result(index, None, key, now_ms=0) for key in keys)
    return [row for row in found if isinstance(row, IndexRow)]


def _stats(index: Index) -> StoreStats:
    oldest = index.oldest()
    oldest_ms = None if oldest is None else int(oldest * 1000)
    return StoreStats(index.count(), index.used_bytes(), oldest_ms)
