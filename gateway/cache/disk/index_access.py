"""Access to the index: runs work in threads with time-outs, and replaces a lost index."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.cache.disk.bounded_executor import BoundedExecutor
from gateway.cache.disk.generation_counters import GenerationCounters
from gateway.cache.disk.index import Index
from gateway.cache.disk.opening import is_corrupt, open_index, set_aside
from gateway.cache.result_store import StoreError, StoreFailure

Result = TypeVar("Result")
Work = Callable[[Index], Result]

READERS = 4
WRITERS = 1
"""SQLite has one writer at a time: waiting in line is quicker than its busy retries."""
CLOSE_SECONDS = 2.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class IndexAccess:
    """Runs work on a folder's index. `read` and `write` raise StoreError."""

    def __init__(self, folder: Path, timeout_seconds: float, on_damage: Callable[[], None]) -> None:
        """`on_damage` is called once for an index that was set aside."""
        self._folder = folder
        self._timeout_seconds = timeout_seconds
        self._on_damage = on_damage
        self._readers = BoundedExecutor("results-read", READERS)
        self._writers = BoundedExecutor("results-write", WRITERS)
        self._idle: list[Index] = []
        self._epoch = 0
        """Connections taken in an earlier epoch are closed when they come back."""
        self._generations: GenerationCounters | None = None

    async def read(self, work: Work[Result], patience: float = 1) -> Result:
        """Run work that takes no write lock, for at most `patience` time-outs."""
        return await self._run(self._readers, work, patience)

    async def write(self, work: Work[Result], patience: float = 1) -> Result:
        """Run work that writes; one piece at a time, in the order of the calls."""
        return await self._run(self._writers, work, patience)

    def generation_of(self, key: str) -> bytes:
        """The generation of a key, without blocking; empty if it is unknown."""
        return self._generations.read(key) if self._generations else b""

    async def close_replaced(self) -> None:
        """Close connections to an index that was deleted, or replaced by another process."""
        if not await self.read(lambda index: index.in_place):
            self._close_idle()

    async def close(self) -> None:
        self._readers.close()
        with contextlib.suppress(OSError):  # closed already, or the disk hangs
            await self._writers.run(self._close_idle, CLOSE_SECONDS)
        self._writers.close()

    async def _run(self, threads: BoundedExecutor, work: Work[Result], patience: float) -> Result:
        try:
            timeout_seconds = self._timeout_seconds * patience
            return await threads.run(partial(self._with_index, work), timeout_seconds)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(failure_of(error), error) from error

    def _with_index(self, work: Work[Result]) -> Result:
        epoch, index = self._epoch, self._take()
        try:
            return work(index)
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                self._close_idle()
                if set_aside(self._folder, index):
                    self._on_damage()
            raise
        finally:
            if epoch == self._epoch and not index.in_transaction:
                self._idle.append(index)
            else:
                index.close()

    def _take(self) -> Index:
        try:
            return self._idle.pop()
        except IndexError:
            index, was_damaged = open_index(self._folder, self._timeout_seconds / 2)
            self._generations = index.generations
            if was_damaged:
                self._on_damage()
            return index

    def _close_idle(self) -> None:
        self._epoch += 1
        idle, self._idle = self._idle, []
        for index in idle:
            index.close()


def failure_of(error: sqlite3.Error | OSError) -> StoreFailure:
    """The failure that metrics count for an error."""
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
