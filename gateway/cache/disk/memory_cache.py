"""Results in memory: those read twice within a moment, for a moment each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.cache.result_store import Stored

KEPT_SECONDS = 2.0
"""Then the result is read from disk again, in case its generation missed a change."""
LARGEST_SHARE = 4
"""A result larger than this fraction (1/4) of the cache is not kept."""
REMEMBERED_KEYS = 4_096


@dataclass(slots=True, eq=False)
class _CachedResult:
    generation: bytes
    stored: Stored
    since: float
    renewing: bool = False


class MemoryCache:
    """Results that were read twice within `kept_seconds`, for that time.

    A result is served only while its key's generation is the one from before it was read. It is
    dropped by a timer, so an idle gateway holds none.
    """

    def __init__(self, max_bytes: int, kept_seconds: float = KEPT_SECONDS) -> None:
        self._max_bytes = max_bytes
        self._kept_seconds = kept_seconds
        self._bytes = 0
        self._kept: dict[str, _CachedResult] = {}
        self._read: dict[str, float] = {}
        """When each key was last read from disk, in the event loop's seconds."""

    def find(self, key: str, generation: bytes) -> Stored | None:
        """The result under this key, unless it has changed since."""
        kept = self._kept.get(key)
        return kept.stored if kept and generation and kept.generation == generation else None

    def should_renew(self, key: str) -> bool:
        """Is half of its time over? True once per result: that caller reads it again.

        Otherwise all requests for it would go to the disk together once it is dropped.
        """
        kept, now = self._kept.get(key), asyncio.get_running_loop().time()
        if kept is None or kept.renewing or now - kept.since < self._kept_seconds / 2:
            return False
        kept.renewing = True
        return True

    def add_read(self, key: str, generation: bytes, stored: Stored) -> None:
        """Keep a result read from disk if it was read before; `generation` precedes the read."""
        loop = asyncio.get_running_loop()
        now, last = loop.time(), self._read.pop(key, None)
        self._read[key] = now
        if len(self._read) > REMEMBERED_KEYS:
            del self._read[next(iter(self._read))]
        size = len(stored.body)
        again = last is not None and now - last <= self._kept_seconds
        if not again or not generation or size * LARGEST_SHARE > self._max_bytes:
            return
        self._drop(key)
        while self._kept and self._bytes + size > self._max_bytes:
            self._drop(next(iter(self._kept)))
        kept = self._kept[key] = _CachedResult(generation, stored, now)
        self._bytes += size
        loop.call_later(self._kept_seconds, self._expire, key, kept)

    def _expire(self, key: str, kept: _CachedResult) -> None:
        if self._kept.get(key) is kept:
            self._drop(key)

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept:
            self._bytes -= len(kept.stored.body)
