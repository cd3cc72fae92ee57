"""Calls to a bucket: each with a time-out, each failure named, paused while the bucket is down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from gateway.cache.result_store import StoreError, StoreFailure
from gateway.cache.rules.entry import (
    MAX_HEADER_BYTES,
    DamagedEntry,
    Entry,
    body_offset,
    unpack_head,
)

if TYPE_CHECKING:
    from obstore import Bytes, ObjectMeta
    from obstore.store import ObjectStore

Result = TypeVar("Result")

SLOWEST_BYTES_PER_SECOND = 8_000_000
"""A transfer may take its time-out plus the time that this rate needs."""
FAILURES_BEFORE_PAUSE = 5
PAUSE_SECONDS = 5.0
HEAD_BYTES = 4_096
LISTED = 16


class Bucket:
    """The objects of a bucket by name. Methods raise StoreError.

    After several failures in a row, calls fail at once for a few seconds: while a bucket is down,
    requests must not wait for a time-out each.
    """

    def __init__(self, store: ObjectStore, timeout_seconds: float, max_bytes: int) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._failures = 0
        self._paused_until = 0.0

    async def read(self, name: str) -> Bytes | None:
        """A whole object, None if it does not exist. Raises DamagedEntry if it is too large."""
        try:
            found = await self._call(lambda: obstore.get_async(self._store, name))
            size = found.meta["size"]
            if size > self._max_bytes:
                raise DamagedEntry(f"{size} bytes exceed the size of any entry")
            return await self._call(found.bytes_async, size)
        except FileNotFoundError:
            return None

    async def read_entry(self, name: str, size: int) -> Entry | None:
        """The entry of an object of `size` bytes, without its body. Raises DamagedEntry."""
        try:
            start = await self._read_start(name, min(size, HEAD_BYTES))
            offset = body_offset(start)
            if len(start) < offset:
                start = await self._read_start(name, min(size, HEAD_BYTES + MAX_HEADER_BYTES))
        except FileNotFoundError:
            return None
        return unpack_head(start)

    async def write(self, name: str, content: bytes) -> None:
        """Put an object in one request, so that no parts are ever left over."""
        try:
            await self._call(
                lambda: obstore.put_async(self._store, name, content, use_multipart=False),
                len(content),
            )
        except FileNotFoundError as error:
            raise StoreError(StoreFailure.UNREACHABLE, "the bucket does not exist") from error

    async def remove(self, names: Sequence[str]) -> None:
        """Delete objects; a missing one is no failure."""
        if not names:
            return
        try:
            await self._call(lambda: obstore.delete_async(self._store, names))
        except FileNotFoundError:
            if len(names) > 1:  # some stores stop at the first missing one
                for name in names:
                    await self.remove([name])

    async def listing(self) -> AsyncIterator[Sequence[ObjectMeta]]:
        """Every object, in pages, without those of folders in it."""
        pages = obstore.list(self._store, chunk_size=LISTED)
        while True:
            try:
                page = await self._call(lambda: _next(pages), pausing=False)
            except FileNotFoundError as error:
                raise StoreError(StoreFailure.UNREACHABLE, "the bucket does not exist") from error
            if page is None:
                return
            yield [meta for meta in page if "/" not in meta["path"]]

    async def _read_start(self, name: str, size: int) -> bytes:
        if size == 0:
            raise DamagedEntry("the object is empty")
        return bytes(
            await self._call(
                lambda: obstore.get_range_async(self._store, name, start=0, end=size),
                pausing=False,
            )
        )

    async def _call(
        self, call: Callable[[], Awaitable[Result]], size: int = 0, *, pausing: bool = True
    ) -> Result:
        """Passes on FileNotFoundError: the bucket has answered."""
        if pausing and time.monotonic() < self._paused_until:
            raise StoreError(StoreFailure.UNREACHABLE, "the bucket was down moments ago")
        try:
            async with asyncio.timeout(self._timeout_seconds + size / SLOWEST_BYTES_PER_SECOND):
                result = await call()
        except FileNotFoundError:
            self._failures = 0
            raise
        except (BaseError, OSError) as error:
            self._count_failure()
            raise StoreError(_failure_of(error), error) from error
        self._failures = 0
        return result

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_BEFORE_PAUSE:
            self._paused_until = time.monotonic() + PAUSE_SECONDS


async def _next(pages: AsyncIterator[Sequence[ObjectMeta]]) -> Sequence[ObjectMeta] | None:
    return await anext(pages, None)


def _failure_of(error: BaseError | OSError) -> StoreFailure:
    if isinstance(error, TimeoutError):
        return StoreFailure.TIMEOUT
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    return StoreFailure.DENIED if denied else StoreFailure.UNREACHABLE
