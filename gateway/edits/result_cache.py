"""Looking up and storing the results of edits, by the request's cache directives."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.cache.invalidation import Invalidation
from gateway.cache.result_store import ResultStore, Stored
from gateway.cache.rules.entry import Entry, may_serve
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Answered, Bought
from gateway.gallery.rules.sent_edit import SentEdit, SentFile
from gateway.model.reservation import Settled
from gateway.uploads.rules.picture_sniffer import is_picture
from gateway.uploads.uploaded_file import digest


@dataclass
class Upgrade:
    """The upgrade of fingerprints: at `until_ms`, all results under old ones have expired."""

    until_ms: int = sys.maxsize


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultCache:
    """The result store, as edits use it."""

    results: ResultStore
    invalidation: Invalidation
    now_ms: Callable[[], int]
    ttl_seconds: float
    on_stored: Callable[[Entry, SentEdit], Awaitable[None]]
    """Called with the entry of a result, and the edit that it was bought for."""
    upgrade: Upgrade = field(default_factory=Upgrade)

    async def find(self, request: EditRequest, *, previous: bool = False) -> Stored | None:
        """The stored result, whatever its age, unless the request must not look.

        With `previous`, also under the keys of the previous version.
        """
        if not request.directives.may_look or request.fingerprint.uncacheable:
            return None
        found = None
        for key in request.result_keys:
            stored = await self.results.get(key)
            if stored and self.may_serve(stored, request):
                return stored
            found = found or stored
        return found or (await self._find_previous(request) if previous else None)

    async def _find_previous(self, request: EditRequest) -> Stored | None:
        """The newest result under the keys of the previous version."""
        found = await asyncio.gather(*map(self.results.get, self._previous_keys(request)))
        return max(filter(None, found), key=lambda stored: stored.entry.created_ms, default=None)

    def _previous_keys(self, request: EditRequest) -> tuple[str, ...]:
        return request.previous_keys() if self.now_ms() < self.upgrade.until_ms else ()

    def may_serve(self, stored: Stored, request: EditRequest) -> bool:
        return may_serve(stored.entry, self.now_ms(), request.directives.max_age_seconds)

    async def store(self, request: EditRequest, call: Answered, settled: Settled) -> Bought:
        """Keep a bought result, unless there is a reason not to."""
        make = functools.partial(self._shared, request, call, settled)
        why_not = _why_not_stored(request, call)
        if why_not:
            shared = await asyncio.to_thread(make)
        else:
            shared, kept = await self.results.build_and_put(make)
            if kept:
                await self.on_stored(shared.entry, _sent(request))
            why_not = "" if kept else f"results-{self.results.failure or 'not-kept'}"
        if not why_not and request.directives.may_replace:
            self.invalidation.replaced(shared.entry.key, shared.entry.created_ms)
            others = (key for key in request.result_keys if key != shared.entry.key)
            for key in (*others, *self._previous_keys(request)):
                await self.results.delete(key)
                self.invalidation.replaced(key, shared.entry.created_ms)
        return Bought(shared, call.parsed.body, settled, why_not)

    def _shared(self, request: EditRequest, call: Answered, settled: Settled) -> Stored:
        """The result as others get it. Slow: copies and hashes megabytes."""
        now_ms = self.now_ms()
        body = call.parsed.for_sharing(settled.cost_nanos)
        entry = Entry(
            key=request.fingerprint.key,
            team=request.caller.team,
            key_id=request.caller.key_id,
            model=request.target.model,
            upstream=request.target.upstream,
            cost_nanos=settled.cost_nanos,
            created_ms=now_ms,
            expires_ms=now_ms + int(self.ttl_seconds * 1000),
            body_digest=digest(body),
            body_bytes=len(body),
            content_type="application/json",
            request_id=request.request_id,
            upstream_request_id=call.answer.request_id,
            references=tuple(upload.digest for upload in request.edit.references),
        )
        return Stored(entry, body)


def _sent(request: EditRequest) -> SentEdit:
    edit, spool = request.edit, request.spool
    fields = [(name, text) for name, text in edit.fields if name != "model"]
    return SentEdit(
        fields=(("model", request.asked_model or edit.model), *fields),
        files=tuple(SentFile(each.field, each.digest) for each in edit.uploads),
        read=lambda: [spool.read(each.offset, each.size) for each in edit.uploads],
        end_user=request.caller.end_user,
        variant=request.directives.variant,
        team_keeps=request.caller.keep_inputs,
    )


def _why_not_stored(request: EditRequest, call: Answered) -> str:
    if request.fingerprint.uncacheable:
        return request.fingerprint.uncacheable
    if not request.directives.stores:
        return "no-store"
    if call.parsed.has_urls:
        return "url-results"
    return "" if all(map(is_picture, call.parsed.heads)) else "not-a-picture"
