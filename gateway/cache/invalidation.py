"""Announcing results that were replaced, and dropping this machine's copies of those that were.

Only where a machine's own store stands in front of a shared one is anything dropped; where
processes share one folder, the copy there is the new result itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.cache.result_store import ResultStore
from gateway.cache.tables import invalidation
from gateway.cache.tables.invalidation import News, Replaced
from gateway.database.database import Database, StateUnavailable, Transaction

KEPT_MS = 7 * 86_400_000
"""For processes that start again: their machine's copies may be older."""
MOST_WAITING = 10_000


class Invalidation:
    """Tells other processes of results that were replaced here, and hears of theirs."""

    def __init__(
        self,
        *,
        database: Database,
        results: ResultStore,
        now_ms: Callable[[], int],
        interval_seconds: float,
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        self._database = database
        self._results = results
        self._now_ms = now_ms
        self._interval_seconds = interval_seconds
        self._on_failure = on_failure
        self.on_heard: Callable[[str, int], None] = lambda *_: None
        """Told of every result that was replaced: its key, and before when it was made."""
        self._waiting: dict[str, Replaced] = {}
        self._heard = 0

    def replaced(self, key: str, at_ms: int) -> None:
        """A result was put in place of another at `at_ms`; told to the others in a moment."""
        self._waiting[key] = Replaced(key, at_ms)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))

    async def run(self) -> None:
        """Tell and hear for ever."""
        while True:
            try:
                await self.tell()
                await self.hear()
            except Exception as error:  # noqa: BLE001 - the next round may mend it
                self._on_failure("announcements", error)
            await asyncio.sleep(self._interval_seconds)

    async def tell(self) -> None:
        """Announce what waits. Raises StateUnavailable, and then it still waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}

        async def announce(tx: Transaction) -> None:
            await invalidation.announce(tx, list(waiting.values()), self._now_ms())

        try:
            await self._database.write(announce, urgent=False)
        except StateUnavailable:
            self._waiting = {**waiting, **self._waiting}
            raise

    async def hear(self) -> int:
        """Drop what others have replaced; how many results that were. Raises StateUnavailable."""

        async def ask(tx: Transaction) -> News:
            return await invalidation.news_since(tx, self._heard)

        news = await self._database.read(ask)
        for each in news.replaced:
            await self._results.drop_local_copy(each.key, each.at_ms)
            self.on_heard(each.key, each.at_ms)
        self._heard = news.number
        return len(news.replaced)

    async def sweep(self, tx: Transaction) -> None:
        """Drop announcements that everybody has heard long since."""
        await invalidation.sweep(tx, self._now_ms() - KEPT_MS)
