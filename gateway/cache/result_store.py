"""What the gateway asks of a store of results, and what such a store says of itself.

A store is a convenience, never a condition: on a request's path it raises nothing. What it
can't do is a miss, or a result not stored, and is counted under a `StoreFailure`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from gateway.model.entry import Entry

Matches = Callable[[Entry], bool]
Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


class Stored(NamedTuple):
    """A result: its facts and its bytes."""

    entry: Entry
    body: bytes


class StoreFailure(StrEnum):
    """Why a store could not do what it was asked; a label of its metrics."""

    TIMEOUT = "timeout"
    FULL = "full"
    TOO_LARGE = "too_large"
    DENIED = "denied"
    UNREACHABLE = "unreachable"


class StoreUnavailable(Exception):
    """A listing, purge, check or count could not be carried through. Never raised by get or put."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one process's store has seen since it started."""

    evicted: int = 0
    expired: int = 0
    damaged: int = 0
    swept: int = 0
    """Files that no entry knew, left by a crash."""
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
    """What a store holds now, expired entries that still wait for removal included."""

    entries: int
    bytes: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of every digest found; the damaged ones have been deleted."""

    checked: int
    damaged: int


class ResultStore(Protocol):
    """A store of results: a disk, or a bucket with a disk in front. One contract suite for all."""

    async def start(self) -> None:
        """Begin upkeep in the background; only for processes that stay."""
        ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> Stored | None:
        """An entry that has not expired and whose digest is right. Never raises."""
        ...

    async def put(self, entry: Entry, body: bytes) -> bool:
        """Keep a result, in place of any under its key. False where it is not kept."""
        ...

    async def keep(self, make: Callable[[], Stored]) -> tuple[Stored, bool]:
        """Make a result in a thread, where megabytes may be copied and hashed, and put it.

        What was made, whether or not it is kept. Raises what `make` does. It is called again
        where the store's time is over before it is done: what is stored late is the first one's.
        """
        ...

    async def delete(self, key: str) -> bool:
        """True where nothing lies under the key any more, False where that is not sure."""
        ...

    async def forget(self, key: str, older_than_ms: int | None = None) -> bool:
        """Drop what this machine holds of a result that was purged or bought anew elsewhere.

        With `older_than_ms`, a copy made then or later stays: on a folder that processes
        share, it is the new result itself. True where no older copy is left.
        """
        ...

    def entries(self) -> AsyncIterator[Entry]:
        """Every entry, without its body. Raises ResultsUnavailable."""
        ...

    async def purge(self, matches: Matches) -> int:
        """Delete every entry that matches; how many those were. Raises ResultsUnavailable.

        `matches` may be called from another thread.
        """
        ...

    async def verify(self, progress: Progress) -> Verified:
        """Check every body against its digest. Raises ResultsUnavailable."""
        ...

    async def stats(self) -> StoreStats:
        """What is held now. Raises ResultsUnavailable."""
        ...

    async def stats_here(self) -> StoreStats:
        """What this machine's disk holds; cheap enough for every scrape. Raises as `stats`."""
        ...

    def counts(self) -> Counts:
        """What was counted since the start; costs nothing."""
        ...

    @property
    def failure(self) -> StoreFailure | None:
        """What keeps the store from working just now, as its last calls saw it."""
        ...


class Tally:
    """The counting that stores share; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[StoreFailure] = Counter()
        self._troubles: dict[str, StoreFailure] = {}

    def count(self, what: str, number: int = 1) -> None:
        """Add to a field of `Counts`."""
        with self._lock:
            self._counts[what] += number

    def failed(self, act: str, failure: StoreFailure) -> None:
        """`act` (get, put …) did not work; it stays a trouble until the same act works."""
        with self._lock:
            self._failures[failure] += 1
            if failure is not StoreFailure.TOO_LARGE:
                self._troubles[act] = failure

    def worked(self, act: str) -> None:
        if act in self._troubles:
            with self._lock:
                self._troubles.pop(act, None)

    @property
    def failure(self) -> StoreFailure | None:
        with self._lock:
            return next(iter(self._troubles.values()), None)

    def counts(self) -> Counts:
        with self._lock:
            return Counts(**self._counts, failures=dict(self._failures))
