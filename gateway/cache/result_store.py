"""The contract of a result store: a disk, or a bucket with a disk in front.

A store is optional: on a request's path it raises nothing. A failed read is a miss, a failed write
is a result not stored, and both are counted as a `StoreFailure`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from gateway.cache.rules.entry import Entry

Result = TypeVar("Result")
Matches = Callable[[Entry], bool]
Progress = Callable[[int, int], None]
"""Called with the number done and the total."""


class Stored(NamedTuple):
    """A result: its entry and its bytes."""

    entry: Entry
    body: bytes


class StoreFailure(StrEnum):
    """Why a store operation failed; a label of its metrics."""

    TIMEOUT = "timeout"
    FULL = "full"
    TOO_LARGE = "too_large"
    DENIED = "denied"
    UNREACHABLE = "unreachable"


class StoreError(Exception):
    """An operation on a store's medium failed. Internal to stores: never raised by get or put."""

    def __init__(self, failure: StoreFailure, reason: object) -> None:
        super().__init__(str(reason))
        self.failure = failure


class StoreUnavailable(Exception):
    """A listing, purge, check or count failed. Never raised by get or put."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one process's store has counted since it started."""

    evicted: int = 0
    expired: int = 0
    damaged: int = 0
    swept: int = 0
    """Removed files that had no entry, left by a crash."""
    failures: Mapping[StoreFailure, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.evicted + other.evicted,
            self.expired + other.expired,
            self.damaged + other.damaged,
            self.swept + other.swept,
            Counter(self.failures) + Counter(other.failures),
        )


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds, including expired entries not yet removed."""

    entries: int
    bytes: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of checking every digest; damaged results have been deleted."""

    checked: int
    damaged: int


class ResultStore(Protocol):
    """A store of results. One contract suite runs against every implementation."""

    async def start(self) -> None:
        """Start background maintenance; only in processes that stay."""
        ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> Stored | None:
        """A result that has not expired and whose digest is right. Never raises."""
        ...

    async def put(self, entry: Entry, body: bytes) -> bool:
        """Store a result, in place of any under its key. False if it was not stored."""
        ...

    async def build_and_put(self, build: Callable[[], Stored]) -> tuple[Stored, bool]:
        """Build a result in a thread, since that may copy and hash megabytes, and put it.

        Returns the result, and whether it was stored. Raises what `build` does. If the store times
        out first, `build` is called again; a late write stores the first result.
        """
        ...

    async def delete(self, key: str) -> bool:
        """True if nothing is stored under the key any more, False if that is uncertain."""
        ...

    async def drop_local_copy(self, key: str, older_than_ms: int | None = None) -> bool:
        """Drop this machine's copy of a result that was purged or replaced elsewhere.

        With `older_than_ms`, a copy created then or later stays: in a folder that processes share
        it is the new result itself. True if no older copy is left.
        """
        ...

    def entries(self) -> AsyncIterator[Entry]:
        """Every entry, without its body. Raises StoreUnavailable."""
        ...

    async def purge(self, matches: Matches) -> int:
        """Delete every matching entry and return their number. Raises StoreUnavailable.

        `matches` may be called in another thread.
        """
        ...

    async def verify(self, progress: Progress) -> Verified:
        """Check every body against its digest. Raises StoreUnavailable."""
        ...

    async def stats(self) -> StoreStats:
        """What the whole store holds. Raises StoreUnavailable."""
        ...

    async def local_stats(self) -> StoreStats:
        """What this machine's disk holds; cheap enough for every scrape. Raises as `stats`."""
        ...

    def counts(self) -> Counts: ...

    @property
    def failure(self) -> StoreFailure | None:
        """The current failure, as the last operations saw it; None if the store works."""
        ...


class StoreCounter:
    """Counts a store's events and failures; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[StoreFailure] = Counter()
        self._current: dict[str, StoreFailure] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Add to a field of `Counts`."""
        with self._lock:
            self._counts[name] += number

    def failed(self, operation: str, failure: StoreFailure) -> None:
        """Count a failure; it is current until the same operation succeeds."""
        with self._lock:
            self._failures[failure] += 1
            if failure is not StoreFailure.TOO_LARGE:
                self._current[operation] = failure

    def succeeded(self, operation: str) -> None:
        if operation in self._current:
            with self._lock:
                self._current.pop(operation, None)

    async def attempt(self, operation: str, call: Awaitable[Result], default: Result) -> Result:
        """The result of a call, or `default` if it fails, which is counted."""
        try:
            result = await call
        except StoreError as error:
            self.failed(operation, error.failure)
            return default
        self.succeeded(operation)
        return result

    @property
    def failure(self) -> StoreFailure | None:
        with self._lock:
            return next(iter(self._current.values()), None)

    def counts(self) -> Counts:
        with self._lock:
            return Counts(**self._counts, failures=dict(self._failures))


async def or_unavailable(call: Awaitable[Result]) -> Result:
    """The result of a call. Raises StoreUnavailable if it fails."""
    try:
        return await call
    except StoreError as error:
        raise StoreUnavailable(f"the result store failed: {error.failure}, {error}") from error
