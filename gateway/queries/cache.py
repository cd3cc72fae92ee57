"""Keeping house among the results: what is there and what it is worth, what is to go, what is
damaged.

The same for the command line and for `/admin/v1/cache`. Each piece of work may take long, for
results may be many and far away. All raise ResultsUnavailable and StateUnavailable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

from gateway.accounts.tables.audit import Author, append
from gateway.accounts.tables.keys import show_key
from gateway.cache.result_store import Counts, Progress, ResultStore, StoreStats, Verified
from gateway.cache.rules.purge_selection import Selection
from gateway.cache.tables.invalidation import Replaced, announce
from gateway.coalescing.tables import leases
from gateway.database.database import Database, Transaction
from gateway.ledger.tables import reports
from gateway.ledger.tables.reports import Reuse, UsageLine
from gateway.model.entry import Entry
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from gateway.queries.serializers import Facts, entry_facts, reuse_facts, usage_facts, when
from gateway.settings import Settings

REPORTED_DAYS = 30
SHOWN_ENTRIES = 20
ANNOUNCED_AT_ONCE = 1_000
_ANSWERED = (Outcome.HIT, Outcome.MISS, Outcome.COALESCED, Outcome.REFRESHED, Outcome.BYPASS)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is stored now, and what it was good for on the days of the report.

    `max_bytes` is None where nothing of ours bounds the store, and in a team's report. `counts`
    are one process's own since its start, None where nobody counted.
    """

    team: str | None
    stats: StoreStats
    max_bytes: int | None
    from_day: str
    to_day: str
    usage: UsageLine
    by_use: Sequence[Reuse]
    by_saving: Sequence[Reuse]
    counts: Counts | None = None

    @property
    def answered(self) -> int:
        """The requests that got a picture."""
        return sum(self.usage.outcomes.get(outcome, 0) for outcome in _ANSWERED)

    @property
    def hit_share(self) -> float:
        """The part of the answers that were stored ones, 0 to 1."""
        return self.usage.hits / self.answered if self.answered else 0.0

    def facts(self) -> Facts:
        """As it is shown."""
        usage = usage_facts(self.usage)
        return {
            "team": self.team,
            "entries": self.stats.entries,
            "bytes": self.stats.bytes,
            "max_bytes": self.max_bytes,
            "oldest_at": when(self.stats.oldest_ms),
            "from": self.from_day,
            "to": self.to_day,
            "answered": self.answered,
            "hits": usage["hits"],
            "coalesced": usage["coalesced"],
            "hit_share": round(self.hit_share, 4),
            "saved_usd": usage["saved_usd"],
            "saved_usd_by_cause": usage["saved_usd_by_cause"],
            "top_by_use": [reuse_facts(reuse) for reuse in self.by_use],
            "top_by_saving": [reuse_facts(reuse) for reuse in self.by_saving],
            "counts": self.counts and _count_facts(self.counts),
        }


@dataclass(frozen=True, slots=True)
class Selected:
    """Which entries a purge would take: how many, their bodies' bytes, and some of them."""

    selection: Selection
    entries: int
    bytes: int
    first: Sequence[Entry]

    def facts(self) -> Facts:
        """As it is shown."""
        return {
            "selection": self.selection.facts(),
            "entries": self.entries,
            "bytes": self.bytes,
            "first": [entry_facts(entry) for entry in self.first],
        }


class Housekeeper:
    """Keeps house in one store of results, and in the state where that tells of it."""

    def __init__(self, settings: Settings, database: Database, results: ResultStore) -> None:
        self._settings = settings
        self._database = database
        self._results = results

    async def holdings(
        self, now_ms: int, *, team: str | None = None, counted: bool = False
    ) -> Holdings:
        """What is held of everybody, or what one team has paid for.

        For a team every entry is looked at. `counted` adds what this process's store has
        counted: it says something in a process that serves.
        """
        stats = await (self._results.stats() if team is None else self._stats_of(team))
        to_day = day_of(now_ms, self._settings.zone)
        from_day = (date.fromisoformat(to_day) - timedelta(REPORTED_DAYS - 1)).isoformat()

        async def read(tx: Transaction) -> tuple[UsageLine, list[Reuse], list[Reuse]]:
            days = (from_day, to_day)
            lines = await reports.usage_by(tx, "day", *days, team=team)
            by_use = await reports.most_reused(tx, *days, by="uses", team=team)
            by_saving = await reports.most_reused(tx, *days, by="saved_nanos", team=team)
            return reports.total_of(lines), by_use, by_saving

        usage, by_use, by_saving = await self._database.read(read)
        cache = self._settings.cache
        bounded = team is None and cache.bucket_url is None
        return Holdings(
            team=team,
            stats=stats,
            max_bytes=cache.max_bytes if bounded else None,
            from_day=from_day,
            to_day=to_day,
            usage=usage,
            by_use=by_use,
            by_saving=by_saving,
            counts=self._results.counts() if counted and team is None else None,
        )

    async def key_id(self, reference: str) -> str:
        """The id of a key that is named by TEAM/NAME; another text is an id already.

        Results outlive the keys that bought them, so an id need not be known. Raises NotFound.
        """
        if "/" not in reference:
            return reference

        async def find(tx: Transaction) -> str:
            return (await show_key(tx, reference)).id

        return await self._database.read(find)

    async def select(self, selection: Selection, progress: Progress) -> Selected:
        """Which entries a purge would take now; nothing is deleted."""
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
        return Selected(selection, number, size, first)

    async def purge(self, selected: Selected, by: Author, progress: Progress) -> int:
        """Delete what was selected; gives how many entries went.

        The audit comes first, with what was selected then: no purge goes unrecorded, even one
        that a crash cuts short. What has gone is announced even so, wherever it breaks off. An
        entry that comes or is replaced meanwhile may stay.
        """
        await self._record(selected, by)
        total = (await self._results.stats()).entries
        seen = 0
        gone: dict[str, int] = {}
        key = selected.selection.fingerprint
        if key and selected.selection == Selection(fingerprint=key):
            # Another machine may have a copy where the store itself has none any more. Only of
            # everybody's results: whose such a copy is can't be seen, so that a purge which is
            # narrowed further, as a team's own always is, voids what it has found alone.
            gone[key] = by.now_ms

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
        """Check every body against its digest; what is damaged is deleted."""
        before = self._results.counts().damaged
        found = await self._results.verify(progress)
        # An index that had to be given up is damage too, though no entry of it was read.
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

    async def _record(self, selected: Selected, by: Author) -> None:
        told = {
            **selected.selection.facts(),
            "entries": selected.entries,
            "bytes": selected.bytes,
        }

        async def write(tx: Transaction) -> None:
            await append(tx, by, "cache.purge", "cache", {}, told)

        await self._database.write(write)

    async def _announce(self, gone: Mapping[str, int], now_ms: int) -> None:
        """Tell every process that its copies of what has gone, made before then, are void."""
        await self._database.write(lambda tx: leases.purged(tx, gone), urgent=False)
        items = iter(gone.items())
        while some := [Replaced(*item) for item in islice(items, ANNOUNCED_AT_ONCE)]:

            async def write(tx: Transaction, some: Sequence[Replaced] = some) -> None:
                await announce(tx, some, now_ms)

            await self._database.write(write, urgent=False)


def _count_facts(counts: Counts) -> Facts:
    return {
        "evicted": counts.evicted,
        "expired": counts.expired,
        "damaged": counts.damaged,
        "swept": counts.swept,
        "failures": {failure.value: number for failure, number in counts.failures.items()},
    }
