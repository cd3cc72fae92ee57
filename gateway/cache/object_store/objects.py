"""Calls to the bucket: each with a time-out, each failure named, rests while it is down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from gateway.cache.result_store import StoreFailure
from gateway.cache.rules.entry import MAX_HEADER_BYTES, DamagedEntry, body_offset, unpack_head
from gateway.model.entry import Entry

if TYPE_CHECKING:
    from obstore import Bytes, ObjectMeta
    from obstore.store import ObjectStore

Result = TypeVar("Result")

SLOWEST_BYTES_PER_SECOND = 8_000_000
"""A body's transfer may take its time-out and, beyond that, as long as this rate needs."""
FAILURES_BEFORE_REST = 5
REST_SECONDS = 5.0
HEAD_BYTES = 4_096
LISTED = 16


class BucketError(Exception):
    """The bucket could not do what it was asked; `failure` says why."""

    def __init__(self, failure: StoreFailure, reason: object) -> None:
        super().__init__(str(reason))
        self.failure = failure


class Objects:
    """A bucket's objects by name. Methods raise BucketFault.

    After some failures in a row nothing is asked for a few seconds: while a bucket is down,
    requests shall not wait for a time-out each.
    """

    def __init__(self, bucket: ObjectStore, timeout_seconds: float, max_bytes: int) -> None:
        self._bucket = bucket
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._failures = 0
        self._rests_until = 0.0

    async def read(self, name: str) -> Bytes | None:
        """A whole object, None where there is none. Raises DamagedEntry where it is too large."""
        try:
            found = await self._call(lambda: obstore.get_async(self._bucket, name))
            size = found.meta["size"]
            if size > self._max_bytes:
                raise DamagedEntry(f"{size} bytes are more than any entry has")
            return await self._call(found.bytes_async, size)
        except FileNotFoundError:
            return None

    async def read_entry(self, name: str, size: int) -> Entry | None:
        """The entry of an object of `size` bytes, its body left alone. Raises DamagedEntry."""
        try:
            start = await self._read_start(name, min(size, HEAD_BYTES))
            offset = body_offset(start)
            if len(start) < offset:
                start = await self._read_start(name, min(size, HEAD_BYTES + MAX_HEADER_BYTES))
        except FileNotFoundError:
            return None
        return unpack_head(start)

    async def write(self, name: str, content: bytes) -> None:
        """Put an object, whole or not at all: one request, no parts that could be left over."""
        try:
            await self._call(
                lambda: obstore.put_async(self._bucket, name, content, use_multipart=False),
                len(content),
            )
        except FileNotFoundError as error:
            raise BucketError(StoreFailure.UNREACHABLE, "there is no such bucket") from error

    async def remove(self, names: Sequence[str]) -> None:
        """Delete objects; one that is not there is no failure."""
        if not names:
            return
        try:
            await self._call(lambda: obstore.delete_async(self._bucket, names))
        except FileNotFoundError:
            if len(names) > 1:  # some stores stop there
                for name in names:
                    await self.remove([name])

    async def listing(self) -> AsyncIterator[Sequence[ObjectMeta]]:
        """Every object, a few at a time."""
        pages = obstore.list(self._bucket, chunk_size=LISTED)
        while True:
            try:
                page = await self._call(lambda: _next(pages), rests=False)
            except FileNotFoundError as error:
                raise BucketError(StoreFailure.UNREACHABLE, "there is no such bucket") from error
            if page is None:
                return
            yield page

    async def _read_start(self, name: str, size: int) -> bytes:
        if size == 0:
            raise DamagedEntry("the object is empty")
        return bytes(
            await self._call(
                lambda: obstore.get_range_async(self._bucket, name, start=0, end=size),
                rests=False,
            )
        )

    async def _call(
        self, call: Callable[[], Awaitable[Result]], size: int = 0, *, rests: bool = True
    ) -> Result:
        """Raises FileNotFoundError as it comes: that is an answer."""
        if rests and time.monotonic() < self._rests_until:
            raise BucketError(StoreFailure.UNREACHABLE, "it was down a moment ago")
        try:
            async with asyncio.timeout(self._timeout_seconds + size / SLOWEST_BYTES_PER_SECOND):
                result = await call()
        except FileNotFoundError:
            self._failures = 0
            raise
        except (BaseError, OSError) as error:
            self._note_failure()
            raise BucketError(_failure_of(error), error) from error
        self._failures = 0
        return result

    def _note_failure(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_BEFORE_REST:
            self._rests_until = time.monotonic() + REST_SECONDS


async def _next(pages: AsyncIterator[Sequence[ObjectMeta]]) -> Sequence[ObjectMeta] | None:
    return await anext(pages, None)


def _failure_of(error: BaseError | OSError) -> StoreFailure:
    if isinstance(error, TimeoutError):
        return StoreFailure.TIMEOUT
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    return StoreFailure.DENIED if denied else StoreFailure.UNREACHABLE
