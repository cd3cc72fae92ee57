"""Eviction: which results make room for others, and when.

Expired results go first, then the least recently used, until the store is within its size limit.
Times of use are collected in memory and written in batches, so a hit writes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import accumulate

from gateway.cache.disk.index import Index
from gateway.cache.result_store import StoreCounter

BATCH = 64
"""Rows per write transaction: it blocks other processes for a few milliseconds."""
PAUSE_SECONDS = 0.002
"""Between two batches, for the writers of other processes."""


class Eviction:
    """Keeps a store within `max_bytes`. Methods that take an index run in its threads."""

    def __init__(self, counter: StoreCounter, max_bytes: int, now_ms: Callable[[], int]) -> None:
        self._counter = counter
        self._max_bytes = max_bytes
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._uses: dict[str, float] = {}

    def record_use(self, key: str) -> int:
        """Record that an entry was served now; returns how many uses wait to be written."""
        with self._lock:
            self._uses[key] = self._now_ms() / 1000
            return len(self._uses)

    def write_uses(self, index: Index) -> None:
        """Write the collected times of use; times that cannot be written are dropped."""
        with self._lock:
            uses, self._uses = list(self._uses.items()), {}
        for start in range(0, len(uses), BATCH):
            index.record_uses(uses[start : start + BATCH])

    def make_room(self, index: Index, needed_bytes: int = 0) -> None:
        """Delete expired, then least recently used results until `needed_bytes` fit."""
        while (excess := index.used_bytes() + needed_bytes - self._max_bytes) > 0:
            self.write_uses(index)
            if self.remove_expired(index):
                continue
            rows = index.least_recently_used(BATCH)
            freed = accumulate((row.bytes for row in rows), initial=0)
            removed = index.remove(
                [row for row, before in zip(rows, freed, strict=False) if before < excess]
            )
            self._counter.count("evicted", len(removed))
            if not rows:
                return
            if len(removed) == BATCH:
                time.sleep(PAUSE_SECONDS)

    def remove_expired(self, index: Index) -> bool:
        """Delete a batch of expired results; False if there was none."""
        removed = index.remove(index.expired(self._now_ms() / 1000, BATCH))
        self._counter.count("expired", len(removed))
        return bool(removed)
