"""Results on the local disk, for any number of processes of one machine.

The event loop never waits for the disk: calls run in threads, each with a time-out, and what
did not work is a miss. A hit only reads; when entries were last used is gathered in memory
and written in batches, some seconds late.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.cache.disk.index import Index, Moments, Row
from gateway.cache.disk.index_access import DiskStoreError, IndexAccess, Work
from gateway.cache.disk.maintenance import BATCH, Maintenance
from gateway.cache.disk.memory import MemoryCache
from gateway.cache.disk.read_entry import Damage, Seen, entry_of, look
from gateway.cache.result_store import (
    Counts,
    Matches,
    Progress,
    Stored,
    StoreFailure,
    StoreStats,
    StoreUnavailable,
    Tally,
    Verified,
)
from gateway.cache.rules.entry import DamagedEntry, encode, may_serve
from gateway.model.entry import Entry

Result = TypeVar("Result")

LISTED = 500
CHECKED = 16
PATIENCE = 15
"""A step of a listing, purge or check may take so many time-outs."""
INDEX_BYTES = 131_072
"""Room for an index that knows one entry."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class DiskStore:
    """The store that `disk:PATH` names: a `cache.result_store.ResultStore`."""

    def __init__(
        self,
        folder: str | Path,
        max_bytes: int,
        timeout_seconds: float = 2.0,
        now_ms: Callable[[], int] = _now_ms,
        memory_bytes: int = 0,
    ) -> None:
        """Touches nothing yet; keeps up to `memory_bytes` of what is asked for often in memory.

        Raises ValueError for a path that diskcache would change.
        """
        if "$" in str(folder):
            raise ValueError(f"the results' folder {folder} may not have a $ in its name")
        self._max_bytes = max_bytes
        self._now_ms = now_ms
        self._tally = Tally()
        self._seen = Seen()
        path = Path(folder).absolute()
        self._access = IndexAccess(path, timeout_seconds, partial(self._tally.count, "damaged"))
        self._upkeep = Maintenance(self._access, self._tally, max_bytes, now_ms)
        self._hot = MemoryCache(memory_bytes)
        self._task: asyncio.Task[None] | None = None
        self._renewals = set[asyncio.Task[Stored | None]]()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._upkeep.run(), name="upkeep of results")

    async def close(self) -> None:
        for renewal in self._renewals:
            renewal.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._attempt("upkeep", self._access.write(self._upkeep.flush), None)
        await self._access.close()

    async def tend(self) -> None:
        """One round of upkeep and one sweep, now; otherwise they run in the background."""
        await self._upkeep.round()
        await self._upkeep.sweep()

    async def get(self, key: str) -> Stored | None:
        mark, now_ms = self._access.mark_of(key), self._now_ms()
        hot = self._hot.find(key, mark)
        if hot and may_serve(hot.entry, now_ms):
            if self._hot.is_due(key):
                self._renewals.add(renewal := asyncio.create_task(self._read(key, mark, now_ms)))
                renewal.add_done_callback(self._renewals.discard)
            return hot
        return await self._read(key, mark, now_ms)

    async def _read(self, key: str, mark: bytes, now_ms: int) -> Stored | None:
        reading: Work[Stored | Damage | None] = partial(
            look, seen=self._seen, key=key, now_ms=now_ms
        )
        found = await self._attempt("get", self._access.read(reading), None)
        if isinstance(found, Damage):
            await self._attempt("delete", self._discard([found.row]), None)
            return None
        if found:
            self._upkeep.used(key)
            self._hot.note(key, mark, found)
        return found

    async def put(self, entry: Entry, body: bytes) -> bool:
        writing = partial(self._write, stored=Stored(entry, body))
        return await self._attempt("put", self._access.write(writing), False)

    async def keep(self, make: Callable[[], Stored]) -> tuple[Stored, bool]:
        made: list[Stored] = []

        def write(index: Index) -> bool:
            made.append(make())
            return self._write(index, made[0])

        kept = await self._attempt("put", self._access.write(write), False)
        return made[0] if made else await asyncio.to_thread(make), kept

    async def delete(self, key: str) -> bool:
        return await self._attempt("delete", self._access.write(partial(_delete, key=key)), False)

    async def forget(self, key: str, older_than_ms: int | None = None) -> bool:
        forgetting = partial(_forget, key=key, older_than_ms=older_than_ms)
        return await self._attempt("delete", self._access.write(forgetting), False)

    async def entries(self) -> AsyncIterator[Entry]:
        async for rows in self._batches(LISTED):
            for row in rows:
                with contextlib.suppress(DamagedEntry):  # a get or a check deletes it
                    yield entry_of(row)

    async def purge(self, matches: Matches) -> int:
        purged = 0
        async for rows in self._batches(LISTED):
            sorting = partial(_sort, rows=rows, matches=matches)
            matching, damaged = await self._ask(self._access.read(sorting, PATIENCE))
            await self._ask(self._discard(damaged))
            for start in range(0, len(matching), BATCH):
                removing = partial(Index.remove, rows=matching[start : start + BATCH])
                purged += await self._ask(self._access.write(removing, PATIENCE))
        return purged

    async def verify(self, progress: Progress) -> Verified:
        total = (await self.stats()).entries
        checked = damaged = 0
        async for rows in self._batches(CHECKED):
            found = await self._ask(self._access.read(partial(_check, rows=rows), PATIENCE))
            damaged += await self._ask(self._discard(found))
            checked += len(rows)
            progress(checked, max(total, checked))
        return Verified(checked, damaged)

    async def stats(self) -> StoreStats:
        return await self._ask(self._access.read(_stats, PATIENCE))

    async def stats_here(self) -> StoreStats:
        return await self.stats()

    def counts(self) -> Counts:
        return self._tally.counts()

    @property
    def failure(self) -> StoreFailure | None:
        return self._tally.failure

    def _write(self, index: Index, stored: Stored) -> bool:
        entry, body = stored
        header = encode(entry).encode("ascii")
        size = len(header) + len(body)
        if size + INDEX_BYTES > self._max_bytes:
            raise DiskStoreError(StoreFailure.TOO_LARGE, f"{size} bytes are more than it may hold")
        self._upkeep.make_room(index, size)
        moments = Moments(entry.created_ms / 1000, entry.expires_ms / 1000, self._now_ms() / 1000)
        index.insert(entry.key, header, index.files.store(body, False), moments)
        self._upkeep.make_room(index, 0)  # the index has grown, and others write as well
        return True

    async def _discard(self, rows: list[Row]) -> int:
        """Delete damaged rows; how many of them were still there."""
        if not rows:
            return 0
        removed = await self._access.write(partial(Index.remove, rows=rows))
        self._tally.count("damaged", removed)
        return removed

    async def _batches(self, limit: int) -> AsyncIterator[list[Row]]:
        last = 0
        while True:
            following = partial(Index.after, rowid=last, limit=limit)
            rows = await self._ask(self._access.read(following, PATIENCE))
            if not rows:
                return
            yield rows
            last = rows[-1].rowid

    async def _attempt(self, act: str, call: Awaitable[Result], otherwise: Result) -> Result:
        """What a call gives, or `otherwise` where it fails, which is counted."""
        try:
            result = await call
        except DiskStoreError as fault:
            self._tally.failed(act, fault.failure)
            return otherwise
        self._tally.worked(act)
        return result

    async def _ask(self, call: Awaitable[Result]) -> Result:
        try:
            return await call
        except DiskStoreError as fault:
            raise StoreUnavailable(f"the results on disk: {fault.failure}, {fault}") from fault


def _delete(index: Index, key: str) -> bool:
    while row := index.find(key):
        index.remove([row])
    return True


def _forget(index: Index, key: str, older_than_ms: int | None) -> bool:
    row = index.find(key)
    if row is None:
        return True
    with contextlib.suppress(DamagedEntry):
        if older_than_ms is not None and entry_of(row).created_ms >= older_than_ms:
            return True
    return index.remove([row]) == 1 or _forget(index, key, older_than_ms)


def _sort(index: Index, rows: list[Row], matches: Matches) -> tuple[list[Row], list[Row]]:
    """Those that match, and those that are damaged."""
    matching: list[Row] = []
    damaged: list[Row] = []
    for row in rows:
        try:
            if matches(entry_of(row)):
                matching.append(row)
        except DamagedEntry:
            damaged.append(row)
    return matching, damaged


def _check(index: Index, rows: list[Row]) -> list[Row]:
    """The rows whose entries are damaged, every body read."""
    keys = (str(row.key, "utf-8", "replace") for row in rows if isinstance(row.key, bytes))
    found = (look(index, None, key, now_ms=0) for key in keys)
    return [damage.row for damage in found if isinstance(damage, Damage)]


def _stats(index: Index) -> StoreStats:
    oldest = index.oldest()
    return StoreStats(
        index.count(), index.used_bytes(), None if oldest is None else int(oldest * 1000)
    )
