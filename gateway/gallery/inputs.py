"""Keeping what was sent for a result, beside the result itself: for people, where it is allowed.

It is purged with its result, expires with it at the latest, and is deleted where it is no longer
allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.cache.result_store import ResultStore, Stored, StoreUnavailable
from gateway.cache.rules.entry import Entry, inputs_key, is_inputs
from gateway.cache.tables.invalidation import Replaced, announce
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.gallery.rules.sent_edit import SentEdit, written
from gateway.gallery.tables import kept_inputs
from gateway.model.caller import KEEPINGS, Keeping
from gateway.uploads.uploaded_file import digest


@dataclass(kw_only=True, slots=True)
class Inputs:
    """Keeps prompts, or pictures too, of the teams for which that is switched on."""

    enabled: bool
    by_default: Keeping
    days: int
    results: ResultStore
    database: Database
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    _noted: set[tuple[str, str]] = field(init=False, default_factory=set)

    def keeping(self, team_keeps: str) -> Keeping:
        """What is kept of a team with this setting of its own."""
        if not self.enabled:
            return "off"
        return next((each for each in KEEPINGS if each == team_keeps), self.by_default)

    async def keep(self, entry: Entry, edit: SentEdit) -> None:
        """Keep what was sent for a result that was just stored, as far as it is allowed."""
        keeping = self.keeping(edit.team_keeps)
        if keeping == "off":
            return
        if (entry.team, keeping) not in self._noted:  # before anything is kept
            try:
                await self.database.write(
                    partial(kept_inputs.note, team=entry.team, keeping=keeping)
                )
            except StateUnavailable as error:
                self.on_failure("kept_inputs", error)
                return
            self._noted.add((entry.team, keeping))
        body = await asyncio.to_thread(written, edit, keeping)
        until_ms = entry.created_ms + self.days * 86_400_000
        kept = replace(
            entry,
            key=inputs_key(entry.key),
            cost_nanos=None,
            expires_ms=min(entry.expires_ms, until_ms),
            body_digest=digest(body),
            body_bytes=len(body),
        )
        await self.results.put(kept, body)

    async def find(self, fingerprint: str) -> Stored | None:
        """What is kept of a result's edit."""
        return await self.results.get(inputs_key(fingerprint))

    async def drop_switched_off(self, team_keeps: Callable[[str], str]) -> None:
        """Delete what was kept of teams of which less may be kept now."""
        try:
            noted = await self.database.read(kept_inputs.noted)
            for team, most in sorted({*noted.items(), *self._noted}):
                if _less(self.keeping(team_keeps(team)), most):
                    await self._drop(team)
        except (StateUnavailable, StoreUnavailable) as error:
            self.on_failure("kept_inputs", error)

    async def _drop(self, team: str) -> None:
        gone: dict[str, int] = {}

        def is_of_team(entry: Entry) -> bool:
            if entry.team != team or not is_inputs(entry.key):
                return False
            gone[entry.key] = entry.created_ms + 1
            return True

        await self.results.purge(is_of_team)
        self._noted = {each for each in self._noted if each[0] != team}

        async def write(tx: Transaction) -> None:
            await announce(tx, [Replaced(*item) for item in gone.items()], self.now_ms())
            await kept_inputs.forget(tx, team)

        await self.database.write(write, urgent=False)


def _less(keeping: Keeping, most: str) -> bool:
    """Is less kept now than was kept at most?"""
    names: tuple[str, ...] = KEEPINGS
    return names.index(keeping) < names.index(most)
