"""Results in memory: those that are asked for again and again, for a moment each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.cache.result_store import Stored

KEPT_SECONDS = 2.0
"""Then it is read from the disk again: what a mark did not tell is seen so much later."""
LARGEST_SHARE = 4
"""A result that would take more than one in so many bytes is not kept."""
REMEMBERED_KEYS = 4_096


@dataclass(slots=True, eq=False)
class _Kept:
    mark: bytes
    stored: Stored
    since: float
    renewing: bool = False


class MemoryCache:
    """The results that were read twice within a moment, until a moment after.

    What is kept is served only while its mark is the one that was read before it was; see
    `marks`. It is let go of by itself, so that a gateway at rest holds none.
    """

    def __init__(self, max_bytes: int, kept_seconds: float = KEPT_SECONDS) -> None:
        self._max_bytes = max_bytes
        self._kept_seconds = kept_seconds
        self._bytes = 0
        self._kept: dict[str, _Kept] = {}
        self._read: dict[str, float] = {}
        """When keys were last read from the disk, in the event loop's seconds."""

    def find(self, key: str, mark: bytes) -> Stored | None:
        """What is kept under this key, unless it has changed since."""
        kept = self._kept.get(key)
        return kept.stored if kept and mark and kept.mark == mark else None

    def is_due(self, key: str) -> bool:
        """Is half of its time over? Said once: whoever is told reads it anew and notes it.

        Else all who ask for it at once would go to the disk together when it is let go of.
        """
        kept, now = self._kept.get(key), asyncio.get_running_loop().time()
        if kept is None or kept.renewing or now - kept.since < self._kept_seconds / 2:
            return False
        kept.renewing = True
        return True

    def note(self, key: str, mark: bytes, stored: Stored) -> None:
        """It was just read from the disk; `mark` was the key's before that. Keep it?"""
        loop = asyncio.get_running_loop()
        now, last = loop.time(), self._read.pop(key, None)
        self._read[key] = now
        if len(self._read) > REMEMBERED_KEYS:
            del self._read[next(iter(self._read))]
        size = len(stored.body)
        again = last is not None and now - last <= self._kept_seconds
        if not again or not mark or size * LARGEST_SHARE > self._max_bytes:
            return
        self._let_go(key)
        while self._kept and self._bytes + size > self._max_bytes:
            self._let_go(next(iter(self._kept)))
        kept = self._kept[key] = _Kept(mark, stored, now)
        self._bytes += size
        loop.call_later(self._kept_seconds, self._overdue, key, kept)

    def _overdue(self, key: str, kept: _Kept) -> None:
        if self._kept.get(key) is kept:
            self._let_go(key)

    def _let_go(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept:
            self._bytes -= len(kept.stored.body)
