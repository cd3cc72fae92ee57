"""The stored results: statistics, purges, and a check of every digest.

Used by the command line and by `/admin/v1/cache`. Each operation may take long, because the
results may be many and far away. All raise StoreUnavailable and StateUnavailable.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

from gateway.accounts.tables.audit import Author, append
from gateway.accounts.tables.keys import show_key
from gateway.cache.result_store import Progress, ResultStore, StoreStats, Verified
from gateway.cache.rules.entry import Entry, with_inputs
from gateway.cache.rules.purge_selection import Selection
from gateway.cache.tables.invalidation import Replaced, announce
from gateway.coalescing.tables import leases
from gateway.database.database import Database, Transaction
from gateway.gallery.tables import gallery
from gateway.ledger.tables import reports
from gateway.ledger.tables.reports import UsageLine
from gateway.ledger.tables.reuse import Reuse, most_reused
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from gateway.queries.models.cache import CacheStatisticsView, PurgeView
from gateway.queries.models.usage import UsageLineView
from gateway.settings import Settings

REPORTED_DAYS = 30
SHOWN_ENTRIES = 20
ANNOUNCED_AT_ONCE = 1_000
_ANSWERED = (Outcome.HIT, Outcome.MISS, Outcome.COALESCED, Outcome.REFRESHED, Outcome.BYPASS)


@dataclass(frozen=True, slots=True)
class SelectedEntries:
    """The entries that a purge would delete: how many, their bodies' bytes, and some of them."""

    selection: Selection
    entries: int
    bytes: int
    first: Sequence[Entry]

    def purge_view(self, *, dry_run: bool, purged: int) -> PurgeView:
        return PurgeView.of(
            {
                "dry_run": dry_run,
                "selection": self.selection.facts(),
                "entries": self.entries,
                "bytes": self.bytes,
                "first": self.first,
                "purged": purged,
            }
        )


class CacheAdmin:
    """Works on one store of results, and records in the state what it did."""

    def __init__(self, settings: Settings, database: Database, results: ResultStore) -> None:
        self._settings = settings
        self._database = database
        self._results = results

    async def statistics(
        self, now_ms: int, *, team: str | None = None, counts: bool = False
    ) -> CacheStatisticsView:
        """What is stored and what it saved: of all, or of what one team has paid for.

        For a team every entry is read. `counts` adds what this process's store has counted,
        which is of use in a process that serves.
        """
        stats = await (self._results.stats() if team is None else self._stats_of(team))
        to_day = day_of(now_ms, self._settings.zone)
        from_day = (date.fromisoformat(to_day) - timedelta(REPORTED_DAYS - 1)).isoformat()

        async def read(tx: Transaction) -> tuple[UsageLine, list[Reuse], list[Reuse]]:
            days = (from_day, to_day)
            lines = await reports.usage_by(tx, "day", *days, team=team)
            by_use = await most_reused(tx, *days, by="uses", team=team)
            by_saving = await most_reused(tx, *days, by="saved_nanos", team=team)
            return reports.total_of(lines), by_use, by_saving

        usage, by_use, by_saving = await self._database.read(read)
        line = UsageLineView.of(usage)
        answered = sum(usage.outcomes.get(outcome, 0) for outcome in _ANSWERED)
        cache = self._settings.cache
        bounded = team is None and cache.bucket_url is None
        return CacheStatisticsView.of(
            {
                "team": team,
                "entries": stats.entries,
                "bytes": stats.bytes,
                "max_bytes": cache.max_bytes if bounded else None,
                "oldest_at": stats.oldest_ms,
                "from_day": from_day,
                "to_day": to_day,
                "answered": answered,
                "hits": usage.hits,
                "coalesced": usage.coalesced,
                "hit_share": usage.hits / answered if answered else 0.0,
                "saved_usd": line.saved_usd,
                "saved_usd_by_cause": line.saved_usd_by_cause,
                "top_by_use": by_use,
                "top_by_saving": by_saving,
                "counts": self._results.counts() if counts and team is None else None,
            }
        )

    async def key_id(self, reference: str) -> str:
        """The id of the key TEAM/NAME; any other text is taken as an id.

        Results outlive the keys that bought them, so an id may be unknown. Raises NotFound.
        """
        if "/" not in reference:
            return reference

        return (await self._database.read(lambda tx: show_key(tx, reference))).id

    async def select(self, selection: Selection, progress: Progress) -> SelectedEntries:
        """The entries that a purge would delete now; nothing is deleted."""
        total = (await self._results.stats()).entries
        seen = number = size = 0
        first: list[Entry] = []
        async for entry in self._results.entries():
            seen += 1
            progress(seen, max(total, seen))
            if selection.matches(entry):
                number, size = number + 1, size + entry.body_bytes
                if len(first) < SHOWN_ENTRIES:
                    first.append(entry)
        return SelectedEntries(selection, number, size, first)

    async def purge(self, selected: SelectedEntries, by: Author, progress: Progress) -> int:
        """Delete the selected entries; gives how many were deleted.

        The audit is written first, so that a purge which a crash cuts short is recorded too.
        Deleted entries are announced even where the purge fails on the way. Entries stored or
        replaced meanwhile may stay.
        """
        facts = {**selected.selection.facts(), "entries": selected.entries, "bytes": selected.bytes}
        await self._database.write(lambda tx: append(tx, by, "cache.purge", "cache", {}, facts))
        total = (await self._results.stats()).entries
        seen = 0
        gone: dict[str, int] = {}
        key = selected.selection.fingerprint
        if key and selected.selection == Selection(fingerprint=key):
            # Another machine may hold a copy that the store itself no longer has. Its team can't
            # be seen, so a purge that is narrowed further, as a team's own always is, announces
            # only the entries that it found.
            gone.update(dict.fromkeys(with_inputs(key), by.now_ms))

        def matches(entry: Entry) -> bool:
            nonlocal seen
            seen += 1
            progress(seen, max(total, seen))
            if not selected.selection.matches(entry):
                return False
            gone[entry.key] = max(entry.created_ms + 1, gone.get(entry.key, 0))
            return True

        try:
            return await self._results.purge(matches)
        finally:
            if gone:
                await self._announce(gone, by.now_ms)

    async def verify(self, progress: Progress) -> Verified:
        """Check every body against its digest and delete the damaged ones."""
        before = self._results.counts().damaged
        found = await self._results.verify(progress)
        # A lost index is damage too, although none of its entries was read.
        counted = self._results.counts().damaged - before
        return Verified(found.checked, max(found.damaged, counted))

    async def _stats_of(self, team: str) -> StoreStats:
        number = size = 0
        oldest_ms: int | None = None
        async for entry in self._results.entries():
            if entry.team == team:
                number, size = number + 1, size + entry.body_bytes
                oldest_ms = min(entry.created_ms, oldest_ms or entry.created_ms)
        return StoreStats(number, size, oldest_ms)

    async def _announce(self, gone: Mapping[str, int], now_ms: int) -> None:
        """Announce to every process that its older copies of these entries are void."""

        async def forget(tx: Transaction) -> None:
            await leases.purged(tx, gone)
            await gallery.drop(tx, gone)

        await self._database.write(forget, urgent=False)
        items = iter(gone.items())
        while some := [Replaced(*item) for item in islice(items, ANNOUNCED_AT_ONCE)]:
            write = functools.partial(announce, replaced=some, now_ms=now_ms)
            await self._database.write(write, urgent=False)
