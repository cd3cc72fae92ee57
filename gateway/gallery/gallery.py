"""The gallery of a process: notes what is stored and reused, and writes it in batches.

It is off the path of a request: a crash loses what was noted in the last moments, never a result.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from gateway.cache.rules.entry import Entry
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.gallery.inputs import Inputs
from gateway.gallery.rules.sent_edit import SentEdit
from gateway.gallery.tables import gallery
from gateway.gallery.tables.gallery import GalleryRow

FLUSH_SECONDS = 0.2
MOST_WAITING = 10_000


class Gallery:
    """Keeps the rows of stored results while it is enabled; while it isn't, there are none."""

    def __init__(
        self,
        *,
        enabled: bool,
        inputs: Inputs,
        database: Database,
        now_ms: Callable[[], int],
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        self.enabled, self._inputs = enabled, inputs
        self._database, self._now_ms, self._on_failure = database, now_ms, on_failure
        self._bought: dict[str, GalleryRow] = {}
        self._uses: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    async def stored(self, entry: Entry, edit: SentEdit) -> None:
        """A result of this edit was stored."""
        await self._inputs.keep(entry, edit)
        if self.enabled and len(self._bought) < MOST_WAITING:
            self._bought[entry.key] = GalleryRow(
                fingerprint=entry.key,
                team=entry.team,
                key_id=entry.key_id,
                end_user=edit.end_user,
                model=entry.model,
                request_id=entry.request_id,
                cost_nanos=entry.cost_nanos,
                created_ms=entry.created_ms,
                expires_ms=entry.expires_ms,
                family=edit.family,
                variant=edit.variant,
            )

    def reused(self, fingerprint: str, saved_nanos: int) -> None:
        """A result answered another request."""
        if self.enabled and len(self._uses) < MOST_WAITING:
            number, saved = self._uses[fingerprint]
            self._uses[fingerprint] = (number + 1, saved + saved_nanos)

    async def prepare(self) -> None:
        """Forget what an earlier process kept, where the gallery is off now."""
        if not self.enabled:
            await self._database.write(gallery.clear)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was noted. While the state is unavailable it still waits."""
        if not (self._bought or self._uses):
            return
        bought, uses = dict(self._bought), dict(self._uses)
        self._bought.clear()
        self._uses.clear()

        async def write(tx: Transaction) -> None:
            await gallery.put(tx, list(bought.values()))
            await gallery.count_uses(tx, uses)

        try:
            await self._database.write(write, urgent=False)
        except StateUnavailable as error:
            self._on_failure("gallery", error)
            self._bought = {**bought, **self._bought}
            for fingerprint, (number, saved) in uses.items():
                later, saved_later = self._uses[fingerprint]
                self._uses[fingerprint] = (number + later, saved + saved_later)

    async def sweep(self, tx: Transaction) -> None:
        """Forget results that have expired."""
        if self.enabled:
            await gallery.sweep(tx, self._now_ms())
