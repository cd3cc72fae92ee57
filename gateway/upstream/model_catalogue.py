"""The upstream's models: refreshed in the background; the last good copy is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.model.edit import ModelFacts
from gateway.upstream.rules.catalogue_parser import Listing, overridden, parse

ABSENT_REFRESH_SECONDS = 60.0
ABSENT_WAIT_SECONDS = 2.0
"""How long a client that names an unknown model waits for the refresh."""


@dataclass(kw_only=True)
class Catalogue:
    """The facts of the models, in memory.

    `fetch` returns the body of `GET /models` or raises; `keep` stores a valid one for the next
    start; `clock` returns monotonic seconds.
    """

    fetch: Callable[[], Awaitable[bytes]]
    keep: Callable[[bytes], Awaitable[None]]
    overrides: Mapping[str, ModelFacts]
    clock: Callable[[], float]
    on_failure: Callable[[str], None]
    on_models: Callable[[Iterable[str]], None]
    listing: Listing | None = field(init=False, default=None)
    _body: bytes = field(init=False, default=b"")
    _sought_at: float = field(init=False, default=float("-inf"))
    _refreshing: asyncio.Task[bool] | None = field(init=False, default=None)

    def load(self, body: bytes) -> None:
        """Use this catalogue. Raises ValueError if the body is not one."""
        self.listing = parse(body, self.overrides)
        self._body = body
        self.on_models(self.listing.items)

    async def refresh(self) -> bool:
        """Fetch the catalogue, one fetch at a time. Returns False if that failed."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._refresh())
        return await asyncio.shield(self._refreshing)

    async def _refresh(self) -> bool:
        try:
            body = await self.fetch()
            changed = body != self._body
            self.load(body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good copy stands
            self.on_failure(f"the model catalogue could not be refreshed: {error}")
            return False
        if changed:
            await self.keep(body)
        return True

    async def keep_fresh(self, every_seconds: float) -> None:
        """Refresh for ever; a failed refresh is tried again sooner."""
        while True:
            good = await self.refresh()
            await asyncio.sleep(every_seconds if good else min(every_seconds, 5.0))

    def facts(self, model: str) -> ModelFacts | None:
        """The facts of a model; None where none are known."""
        if self.listing and model in self.listing.facts:
            return self.listing.facts[model]
        override = self.overrides.get(model)
        return overridden(ModelFacts(model), override) if override else None

    async def exists(self, model: str) -> bool:
        """Does the model exist, as far as is known?

        An unknown model causes a refresh, at most once a minute. While no catalogue has been
        loaded, every model may exist.
        """
        if self.listing is None or model in self.listing.items:
            return True
        if self.clock() - self._sought_at >= ABSENT_REFRESH_SECONDS:
            self._sought_at = self.clock()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.refresh(), ABSENT_WAIT_SECONDS)
        return model in self.listing.items
