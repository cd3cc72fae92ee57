"""The way to the index: opened when first needed, used in threads, opened anew when lost."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.cache.disk.bounded_executor import BoundedExecutor
from gateway.cache.disk.index import Index
from gateway.cache.disk.opening import is_corrupt, open_index, set_aside
from gateway.cache.result_store import StoreFailure

Result = TypeVar("Result")
Work = Callable[[Index], Result]

READERS = 4
WRITERS = 1
"""SQLite has one writer at a time anyway; waiting in line is quicker than its busy retries."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class DiskStoreError(Exception):
    """The store could not do what it was asked; `failure` says why."""

    def __init__(self, failure: StoreFailure, reason: object) -> None:
        super().__init__(str(reason))
        self.failure = failure


class IndexAccess:
    """Runs work on the index, each piece with a time-out. Every method raises StoreFault."""

    def __init__(self, folder: Path, timeout_seconds: float, damaged: Callable[[], None]) -> None:
        """`damaged` is called for an index that had to be given up."""
        self._folder = folder
        self._timeout_seconds = timeout_seconds
        self._damaged = damaged
        self._readers = BoundedExecutor("results-read", READERS)
        self._writers = BoundedExecutor("results-write", WRITERS)
        self._opening = threading.Lock()
        self._index: Index | None = None
        self._thread = threading.local()

    async def read(self, work: Work[Result], patience: float = 1) -> Result:
        """Run work that takes no write lock, for at most `patience` time-outs."""
        return await self._run(self._readers, work, patience)

    async def write(self, work: Work[Result], patience: float = 1) -> Result:
        """Run work that writes; one piece at a time, in the order asked for."""
        return await self._run(self._writers, work, patience)

    def mark_of(self, key: str) -> bytes:
        """The mark of a key now, at once; empty where it is not known."""
        return self._index.marks.read(key) if self._index else b""

    async def renew(self) -> None:
        """Let go of an index that was deleted or replaced under our feet."""
        index = self._index
        if index is not None and not await self.read(lambda _: index.in_place):
            self._index = None

    async def close(self) -> None:
        await self._readers.close(self._leave)
        await self._writers.close(self._leave)

    async def _run(self, lane: BoundedExecutor, work: Work[Result], patience: float) -> Result:
        try:
            return await lane.run(partial(self._in_thread, work), self._timeout_seconds * patience)
        except (sqlite3.Error, OSError) as error:
            raise DiskStoreError(failure_of(error), error) from error

    def _in_thread(self, work: Work[Result]) -> Result:
        index = self._index or self._open()
        if getattr(self._thread, "index", index) is not index:
            self._thread.index.close()
        self._thread.index = index
        try:
            return work(index)
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                self._give_up(index)
            raise

    def _open(self) -> Index:
        with self._opening:
            if self._index is None:
                self._index, was_damaged = open_index(self._folder, self._timeout_seconds / 2)
                if was_damaged:
                    self._damaged()
            return self._index

    def _give_up(self, index: Index) -> None:
        with self._opening:
            if self._index is index:
                set_aside(self._folder, index)
                self._index = None
                self._damaged()

    def _leave(self) -> None:
        if hasattr(self._thread, "index"):
            self._thread.index.close()


def failure_of(error: sqlite3.Error | OSError) -> StoreFailure:
    """What a failure is called in metrics."""
    if isinstance(error, TimeoutError):
        return StoreFailure.TIMEOUT
    if isinstance(error, OSError):
        return _failure_of_errno(error.errno)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreFailure.TIMEOUT
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE:
        return StoreFailure.FULL
    denied = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
    return StoreFailure.DENIED if code & 0xFF in denied else StoreFailure.UNREACHABLE


def _failure_of_errno(number: int | None) -> StoreFailure:
    if number in _FULL:
        return StoreFailure.FULL
    return StoreFailure.DENIED if number in _DENIED else StoreFailure.UNREACHABLE
