"""Results that many machines share: a bucket behind each machine's own store.

The store in front answers first and is filled from the bucket; it is any `ResultStore`, so that
no edge knows another. What the bucket can't do is a miss, or a result kept on this machine
alone, and is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from blake3 import blake3

from gateway.cache.object_store.objects import BucketError, Objects
from gateway.cache.object_store.opening import open_bucket
from gateway.cache.result_store import (
    Counts,
    Matches,
    Progress,
    ResultStore,
    Stored,
    StoreFailure,
    StoreStats,
    StoreUnavailable,
    Tally,
    Verified,
)
from gateway.cache.rules.entry import DamagedEntry, body_offset, may_serve, pack_head, unpack_head
from gateway.model.entry import Entry

if TYPE_CHECKING:
    from obstore import Bytes, ObjectMeta

Result = TypeVar("Result")

MAX_OBJECT_BYTES = 1_073_741_824


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class BucketStore:
    """The store that `s3://…`, `gs://…` or `az://…` names: a `cache.result_store.ResultStore`."""

    def __init__(
        self,
        url: str,
        local: ResultStore,
        timeout_seconds: float = 2.0,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        """`local` stands in front and is closed with it. Raises ValueError for a wrong URL."""
        bucket = open_bucket(url, timeout_seconds)
        self._objects = Objects(bucket, timeout_seconds, MAX_OBJECT_BYTES)
        self._local = local
        self._now_ms = now_ms
        self._tally = Tally()
        self._fetching: dict[str, asyncio.Task[Stored | None]] = {}

    async def start(self) -> None:
        await self._local.start()

    async def close(self) -> None:
        fetches = list(self._fetching.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        await self._local.close()

    async def get(self, key: str) -> Stored | None:
        """From this machine, else from the bucket: one fetch for all who ask meanwhile."""
        stored = await self._local.get(key)
        if stored:
            return stored
        fetch = self._fetching.get(key)
        if fetch is None:
            fetch = self._fetching[key] = asyncio.create_task(self._fetch(key))
            fetch.add_done_callback(lambda done: self._fetched(key, done))
        return await asyncio.shield(fetch)

    async def put(self, entry: Entry, body: bytes) -> bool:
        """True where either holds it: at worst, other machines buy it again."""
        self._fetching.pop(entry.key, None)  # what it brings is older
        shared = self._attempt("put", self._upload(entry, body))
        return any(await asyncio.gather(self._local.put(entry, body), shared))

    async def keep(self, make: Callable[[], Stored]) -> tuple[Stored, bool]:
        stored = await asyncio.to_thread(make)
        return stored, await self.put(*stored)

    async def delete(self, key: str) -> bool:
        gone = await self._attempt("delete", self._objects.remove([key]))
        self._fetching.pop(key, None)
        return await self._local.delete(key) and gone

    async def forget(self, key: str, older_than_ms: int | None = None) -> bool:
        """Drop this machine's copy; the next get looks into the bucket."""
        self._fetching.pop(key, None)
        return await self._local.forget(key, older_than_ms)

    async def entries(self) -> AsyncIterator[Entry]:
        async for page in self._pages():
            for entry in await self._ask(self._read_entries(page)):
                if isinstance(entry, Entry):
                    yield entry

    async def purge(self, matches: Matches) -> int:
        """The bucket first: what it still has, a get would bring back to this machine."""
        purged: set[str] = set()

        def noting(entry: Entry) -> bool:
            if matches(entry):
                purged.add(entry.key)
                return True
            return False

        async for page in self._pages():
            found = await self._ask(self._read_entries(page))
            names = [
                meta["path"]
                for meta, entry in zip(page, found, strict=True)
                if isinstance(entry, Entry) and noting(entry)
            ]
            await self._ask(self._objects.remove(names))
        self._fetching.clear()
        await self._local.purge(noting)
        return len(purged)

    async def verify(self, progress: Progress) -> Verified:
        """Reads every object whole, and before that everything on this machine."""
        shared = (await self.stats()).entries
        here = await self._local.verify(lambda done, total: progress(done, total + shared))
        checked = damaged = 0
        async for page in self._pages():
            for meta in page:
                damaged += await self._ask(self._is_damaged(meta["path"]))
            checked += len(page)
            progress(here.checked + checked, here.checked + max(shared, checked))
        return Verified(here.checked + checked, here.damaged + damaged)

    async def stats(self) -> StoreStats:
        """Of the bucket, by listing it all: for an operator, not for every scrape."""
        entries = size = 0
        oldest_ms: int | None = None
        async for page in self._pages():
            entries += len(page)
            size += sum(meta["size"] for meta in page)
            times = [int(meta["last_modified"].timestamp() * 1000) for meta in page]
            oldest_ms = min(times if oldest_ms is None else [oldest_ms, *times], default=oldest_ms)
        return StoreStats(entries, size, oldest_ms)

    async def stats_here(self) -> StoreStats:
        return await self._local.stats()

    def counts(self) -> Counts:
        """Of this process, in the bucket and on this machine together."""
        return self._tally.counts() + self._local.counts()

    @property
    def failure(self) -> StoreFailure | None:
        return self._tally.failure or self._local.failure

    async def _fetch(self, key: str) -> Stored | None:
        try:
            content = await self._objects.read(key)
            stored = None
            if content is not None:
                stored = await asyncio.to_thread(_open, key, content)
        except DamagedEntry:
            await self._discard(key)
            return None
        except BucketError as fault:
            self._tally.failed("get", fault.failure)
            return None
        self._tally.worked("get")
        if stored is None or not may_serve(stored.entry, self._now_ms()):
            return None
        if self._fetching.get(key) is asyncio.current_task():  # not replaced meanwhile
            await self._local.put(*stored)
        return stored

    def _fetched(self, key: str, fetch: asyncio.Task[Stored | None]) -> None:
        if self._fetching.get(key) is fetch:
            del self._fetching[key]

    async def _upload(self, entry: Entry, body: bytes) -> None:
        content = await asyncio.to_thread(b"".join, (pack_head(entry), body))
        await self._objects.write(entry.key, content)

    async def _discard(self, name: str) -> None:
        if await self._attempt("delete", self._objects.remove([name])):
            self._tally.count("damaged")

    async def _is_damaged(self, name: str) -> bool:
        try:
            content = await self._objects.read(name)
            if content is not None:
                await asyncio.to_thread(_open, name, content)
        except DamagedEntry:
            await self._discard(name)
            return True
        return False

    async def _read_entries(self, page: Sequence[ObjectMeta]) -> Sequence[Entry | None]:
        """The entries of a page's objects; None for one that is damaged or gone by now."""
        reads = (self._objects.read_entry(meta["path"], meta["size"]) for meta in page)
        found = await asyncio.gather(*reads, return_exceptions=True)
        for entry in found:
            if isinstance(entry, BaseException) and not isinstance(entry, DamagedEntry):
                raise entry
        return [entry if isinstance(entry, Entry) else None for entry in found]

    async def _pages(self) -> AsyncIterator[Sequence[ObjectMeta]]:
        try:
            async for page in self._objects.listing():
                yield page
        except BucketError as fault:
            raise _unavailable(fault) from fault

    async def _attempt(self, act: str, call: Awaitable[None]) -> bool:
        """Did it work? A failure is counted."""
        try:
            await call
        except BucketError as fault:
            self._tally.failed(act, fault.failure)
            return False
        self._tally.worked(act)
        return True

    async def _ask(self, call: Awaitable[Result]) -> Result:
        try:
            return await call
        except BucketError as fault:
            raise _unavailable(fault) from fault


def _unavailable(fault: BucketError) -> StoreUnavailable:
    return StoreUnavailable(f"the results' bucket: {fault.failure}, {fault}")


def _open(key: str, content: Bytes) -> Stored:
    """The entry and body of an object, its digest checked. Raises DamagedEntry."""
    view = memoryview(content)
    offset = body_offset(bytes(view[:8]))
    entry = unpack_head(bytes(view[:offset]))
    body = bytes(view[offset:])
    if entry.key != key:
        raise DamagedEntry("the object is another entry's")
    if blake3(body).hexdigest() != entry.body_digest:
        raise DamagedEntry("the body is not what was stored")
    return Stored(entry, body)
