"""The stored results: statistics, purges, and a check of every digest.

The results lie outside the state, so these routes are no transactions. Each answers within half
a minute. Where the work takes longer, `complete` is false, the work goes on in this process, and
the same request waits on.
"""

from __future__ import annotations

from gateway.api.admin.background_jobs import BackgroundJobs
from gateway.api.admin.inputs import Body, PurgeBody, Query, TeamQuery
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import check_own, team_of
from gateway.cache.result_store import Progress, Verified
from gateway.cache.rules.purge_selection import Selection
from gateway.model.errors import Refusal
from gateway.queries.cache_admin import CacheAdmin, SelectedEntries
from gateway.queries.models.cache import (
    CacheStatisticsView,
    CacheVerificationView,
    CacheView,
    UnfinishedCacheVerificationView,
    UnfinishedCacheView,
    UnfinishedPurgeView,
)
from gateway.queries.models.read_model import ReadModel

FILTERS = ("fingerprint", "team", "key", "model", "older_than", "containing")


class CacheHandlers:
    """Handles `/admin/v1/cache`. Raises Refusal, StoreUnavailable."""

    def __init__(self, cache: CacheAdmin) -> None:
        self._cache = cache
        self._jobs = BackgroundJobs()

    async def close(self) -> None:
        """Cancel the running jobs."""
        await self._jobs.close()

    async def statistics(self, request: AdminRequest[TeamQuery, Body]) -> ReadModel:
        team = team_of(request.team, request.query.team)

        async def work(_: Progress) -> CacheStatisticsView:
            return await self._cache.statistics(request.by.now_ms, team=team, counts=True)

        job = await self._jobs.wait(("statistics", team), work)
        if (found := job.result) is None:
            return UnfinishedCacheView(done=job.done, total=job.total)
        return CacheView.of(found)

    async def purge(self, request: AdminRequest[Query, PurgeBody]) -> ReadModel:
        dry_run = bool(request.body.dry_run)
        selection = await self._selection(request)
        # Named by the filters, not by the selection: an age is another moment every time.
        filters = tuple(str(getattr(request.body, name)) for name in FILTERS)

        async def work(progress: Progress) -> tuple[SelectedEntries, int]:
            selected = await self._cache.select(selection, progress)
            if dry_run:
                return selected, 0
            return selected, await self._cache.purge(selected, request.by, progress)

        job = await self._jobs.wait(("purge", dry_run, request.team, *filters), work)
        if (ended := job.result) is None:
            return UnfinishedPurgeView(
                done=job.done,
                total=job.total,
                dry_run=dry_run,
                selection=selection.facts(),
                purged=0 if dry_run else None,
            )
        selected, purged = ended
        return selected.purge_view(dry_run=dry_run, purged=purged)

    async def verify(self, _: AdminRequest[Query, Body]) -> ReadModel:
        async def work(progress: Progress) -> Verified:
            return await self._cache.verify(progress)

        job = await self._jobs.wait("verify", work)
        if (found := job.result) is None:
            return UnfinishedCacheVerificationView(done=job.done, total=job.total, checked=job.done)
        return CacheVerificationView.of(found)

    async def _selection(self, request: AdminRequest[Query, PurgeBody]) -> Selection:
        """The results to purge. Raises `missing_field` without a filter and without `all`."""
        body = request.body
        if not body.everything and all(getattr(body, name) is None for name in FILTERS):
            raise Refusal(
                "missing_field",
                f"Name the results to purge: {', '.join(FILTERS)}, or all: true.",
                param="all",
            )
        age_ms = None if body.older_than is None else int(body.older_than * 1000)
        return Selection(
            fingerprint=body.fingerprint,
            team=team_of(request.team, body.team),
            key_id=await self._key_id(request),
            model=body.model,
            made_before_ms=None if age_ms is None else request.by.now_ms - age_ms,
            picture=body.containing,
        )

    async def _key_id(self, request: AdminRequest[Query, PurgeBody]) -> str | None:
        key = request.body.key
        if key is None or "/" not in key:
            return key
        check_own(request.team, key.partition("/")[0])
        return await self._cache.key_id(key)
