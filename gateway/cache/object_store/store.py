"""Results shared by many machines: a bucket behind each machine's own store.

The local store answers first and is filled from the bucket; it may be any `ResultStore`. If the
bucket fails, a read is a miss and a write is stored on this machine only; both are counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from blake3 import blake3

from gateway.cache.object_store.bucket import Bucket
from gateway.cache.object_store.opening import open_bucket
from gateway.cache.result_store import (
    Counts,
    Matches,
    Progress,
    ResultStore,
    StoreCounter,
    Stored,
    StoreError,
    StoreFailure,
    StoreStats,
    Verified,
    or_unavailable,
)
from gateway.cache.rules.entry import (
    DamagedEntry,
    Entry,
    body_offset,
    may_serve,
    pack_head,
    unpack_head,
)

if TYPE_CHECKING:
    from obstore import Bytes, ObjectMeta

Result = TypeVar("Result")

MAX_OBJECT_BYTES = 1_073_741_824


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class BucketStore:
    """The store of `s3://…`, `gs://…` or `az://…`: a `cache.result_store.ResultStore`."""

    def __init__(
        self,
        url: str,
        local: ResultStore,
        timeout_seconds: float = 2.0,
        now_ms: Callable[[], int] = _now_ms,
        folder: str = "",
    ) -> None:
        """`local` is closed with this store. Raises ValueError for an invalid URL.

        With a `folder`, its objects are apart from those of the same URL without one.
        """
        store = open_bucket(url, timeout_seconds, folder)
        self._bucket = Bucket(store, timeout_seconds, MAX_OBJECT_BYTES)
        self._local = local
        self._now_ms = now_ms
        self._counter = StoreCounter()
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
        """From this machine, else from the bucket, with one fetch for all concurrent callers."""
        stored = await self._local.get(key)
        if stored:
            return stored
        fetch = self._fetching.get(key)
        if fetch is None:
            fetch = self._fetching[key] = asyncio.create_task(self._fetch(key))
            fetch.add_done_callback(lambda done: self._forget_fetch(key, done))
        return await asyncio.shield(fetch)

    async def put(self, entry: Entry, body: bytes) -> bool:
        """True if either store has it: at worst, other machines buy it again."""
        self._fetching.pop(entry.key, None)  # it brings an older result
        shared = self._counter.attempt("put", self._upload(entry, body), False)
        return any(await asyncio.gather(self._local.put(entry, body), shared))

    async def build_and_put(self, build: Callable[[], Stored]) -> tuple[Stored, bool]:
        stored = await asyncio.to_thread(build)
        return stored, await self.put(*stored)

    async def delete(self, key: str) -> bool:
        gone = await self._remove(key)
        self._fetching.pop(key, None)
        return await self._local.delete(key) and gone

    async def drop_local_copy(self, key: str, older_than_ms: int | None = None) -> bool:
        """Drop this machine's copy; the next get reads the bucket."""
        self._fetching.pop(key, None)
        return await self._local.drop_local_copy(key, older_than_ms)

    async def entries(self) -> AsyncIterator[Entry]:
        async for page in self._pages():
            for entry in await or_unavailable(self._read_entries(page)):
                if isinstance(entry, Entry):
                    yield entry

    async def purge(self, matches: Matches) -> int:
        """The bucket first: otherwise a get could bring a result back to this machine."""
        purged: set[str] = set()

        def matches_and_record(entry: Entry) -> bool:
            if matches(entry):
                purged.add(entry.key)
                return True
            return False

        async for page in self._pages():
            found = await or_unavailable(self._read_entries(page))
            names = [
                meta["path"]
                for meta, entry in zip(page, found, strict=True)
                if isinstance(entry, Entry) and matches_and_record(entry)
            ]
            await or_unavailable(self._bucket.remove(names))
        self._fetching.clear()
        await self._local.purge(matches_and_record)
        return len(purged)

    async def verify(self, progress: Progress) -> Verified:
        """Reads every result on this machine, then every object whole."""
        shared = (await self.stats()).entries
        here = await self._local.verify(lambda done, total: progress(done, total + shared))
        checked = damaged = 0
        async for page in self._pages():
            for meta in page:
                damaged += await or_unavailable(self._is_damaged(meta["path"]))
            checked += len(page)
            progress(here.checked + checked, here.checked + max(shared, checked))
        return Verified(here.checked + checked, here.damaged + damaged)

    async def stats(self) -> StoreStats:
        """Lists the whole bucket: for an operator, not for every scrape."""
        entries = size = 0
        oldest_ms: int | None = None
        async for page in self._pages():
            entries += len(page)
            size += sum(meta["size"] for meta in page)
            times = [int(meta["last_modified"].timestamp() * 1000) for meta in page]
            oldest_ms = min(times if oldest_ms is None else [oldest_ms, *times], default=oldest_ms)
        return StoreStats(entries, size, oldest_ms)

    async def local_stats(self) -> StoreStats:
        return await self._local.stats()

    def counts(self) -> Counts:
        """Counts of this process, bucket and local store together."""
        return self._counter.counts() + self._local.counts()

    @property
    def failure(self) -> StoreFailure | None:
        return self._counter.failure or self._local.failure

    async def _fetch(self, key: str) -> Stored | None:
        try:
            content = await self._bucket.read(key)
            stored = None
            if content is not None:
                stored = await asyncio.to_thread(_open, key, content)
        except DamagedEntry:
            await self._delete_damaged(key)
            return None
        except StoreError as error:
            self._counter.failed("get", error.failure)
            return None
        self._counter.succeeded("get")
        if stored is None or not may_serve(stored.entry, self._now_ms()):
            return None
        if self._fetching.get(key) is asyncio.current_task():  # not replaced in the meantime
            await self._local.put(*stored)
        return stored

    def _forget_fetch(self, key: str, fetch: asyncio.Task[Stored | None]) -> None:
        if self._fetching.get(key) is fetch:
            del self._fetching[key]

    async def _upload(self, entry: Entry, body: bytes) -> bool:
        content = await asyncio.to_thread(b"".join, (pack_head(entry), body))
        await self._bucket.write(entry.key, content)
        return True

    async def _remove(self, name: str) -> bool:
        failed = object()
        removing = self._bucket.remove([name])
        return await self._counter.attempt("delete", removing, failed) is not failed

    async def _delete_damaged(self, name: str) -> None:
        if await self._remove(name):
            self._counter.count("damaged")

    async def _is_damaged(self, name: str) -> bool:
        try:
            content = await self._bucket.read(name)
            if content is not None:
                await asyncio.to_thread(_open, name, content)
        except DamagedEntry:
            await self._delete_damaged(name)
            return True
        return False

    async def _read_entries(self, page: Sequence[ObjectMeta]) -> Sequence[Entry | None]:
        """The entries of a page of objects; None for an object that is damaged or deleted."""
        reads = (self._bucket.read_entry(meta["path"], meta["size"]) for meta in page)
        found = await asyncio.gather(*reads, return_exceptions=True)
        for entry in found:
            if isinstance(entry, BaseException) and not isinstance(entry, DamagedEntry):
                raise entry
        return [entry if isinstance(entry, Entry) else None for entry in found]

    async def _pages(self) -> AsyncIterator[Sequence[ObjectMeta]]:
        pages = self._bucket.listing()
        while (page := await or_unavailable(anext(pages, None))) is not None:
            yield page


def _open(key: str, content: Bytes) -> Stored:
    """The entry and body of an object, its digest checked. Raises DamagedEntry."""
    view = memoryview(content)
    offset = body_offset(bytes(view[:8]))
    entry = unpack_head(bytes(view[:offset]))
    body = bytes(view[offset:])
    if entry.key != key:
        raise DamagedEntry("the object belongs to another entry")
    if blake3(body).hexdigest() != entry.body_digest:
        raise DamagedEntry("the body differs from the one stored")
    return Stored(entry, body)
