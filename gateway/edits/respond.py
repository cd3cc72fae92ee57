"""`respond`: the reply to a request, by the result of its flight."""

from __future__ import annotations

from dataclasses import replace

from gateway.cache.result_store import Stored
from gateway.cache.rules.fingerprint import GENERATIONS_OFF
from gateway.edits.edit_request import EditRequest, Reply
from gateway.edits.flight_result import (
    Bought,
    Failed,
    FailureScope,
    Followed,
    Found,
    fingerprint_of,
    settled_of,
    upstream_of,
    upstream_request_id,
)
from gateway.edits.lead_or_follow import JoinResult
from gateway.model.outcome import Outcome
from gateway.telemetry.request_record import RequestRecord
from gateway.wire.cache_status import CacheStatus


def reply_to(
    joined: JoinResult,
    request: EditRequest,
    record: RequestRecord,
    *,
    now_ms: int,
    ttl_seconds: int,
) -> Reply:
    """The reply for the request that led the flight, or followed it. Raises Refusal."""
    result, led = joined.result, joined.led
    record.upstream = upstream_of(result)
    record.fingerprint = fingerprint_of(result) or record.fingerprint
    if led:
        _record_flight(joined, request, record)
    match result:
        case Failed():
            _record_failure(result, led, record, now_ms)
            raise replace(result.refusal)  # a copy, which gathers no traceback of other requests
        case Found(stored):
            return _hit(stored, request, record, now_ms)
        case Followed(stored):
            return _coalesced(stored, request, record, ttl_seconds)
        case Bought(shared, not_stored_because=why_not) if not led:
            return _coalesced(shared, request, record, None if why_not else ttl_seconds, why_not)
        case Bought():
            return _bought(result, request, record, ttl_seconds)


def expected_status(request: EditRequest, key: str, led: bool) -> CacheStatus:
    """The cache status of a stream that begins, if its call brings a picture.

    `key` is the fingerprint at the target that answers; empty where that is not known yet.
    """
    if not led:
        return CacheStatus(Outcome.COALESCED, key=key)
    no_store = "" if request.directives.stores else "no-store"
    why_not = request.fingerprint.uncacheable or no_store
    return CacheStatus(_outcome(why_not, request), key=key, detail=why_not)


def _hit(stored: Stored, request: EditRequest, record: RequestRecord, now_ms: int) -> Reply:
    entry = stored.entry
    record.reuse(Outcome.HIT, entry, retry=request.directives.retry)
    ttl_seconds = max(0, entry.expires_ms - now_ms) // 1000
    return Reply(
        body=stored.body,
        cache=CacheStatus(Outcome.HIT, key=entry.key, ttl_seconds=ttl_seconds),
        age_seconds=max(0, now_ms - entry.created_ms) // 1000,
        content_type=entry.content_type,
    )


def _coalesced(
    shared: Stored,
    request: EditRequest,
    record: RequestRecord,
    ttl_seconds: int | None,
    why_not: str = "",
) -> Reply:
    record.reuse(Outcome.COALESCED, shared.entry, retry=request.directives.retry)
    return Reply(
        body=shared.body,
        cache=CacheStatus(
            Outcome.COALESCED, key=shared.entry.key, ttl_seconds=ttl_seconds, detail=why_not
        ),
    )


def _bought(bought: Bought, request: EditRequest, record: RequestRecord, ttl_seconds: int) -> Reply:
    why_not = bought.not_stored_because
    record.outcome, record.status = _outcome(why_not, request), 200
    return Reply(
        body=bought.body,
        cache=CacheStatus(
            record.outcome,
            key=bought.shared.entry.key,
            stored=not why_not,
            ttl_seconds=None if why_not else ttl_seconds,
            detail=why_not,
        ),
    )


def _outcome(not_stored_because: str, request: EditRequest) -> Outcome:
    """The outcome for the request that bought the picture."""
    if request.directives.no_store or not_stored_because == GENERATIONS_OFF:
        return Outcome.BYPASS
    return Outcome.REFRESHED if request.directives.no_cache else Outcome.MISS


def _record_flight(joined: JoinResult, request: EditRequest, record: RequestRecord) -> None:
    """The flight's stages and cost belong to the request that led it."""
    record.stages.pop("join", None)
    record.stages.update(request.flight_stages)
    record.upstream_request_id = upstream_request_id(joined.result)
    if settled := settled_of(joined.result):
        record.cost_nanos = settled.cost_nanos
        record.cost_kind = settled.cost_kind
        record.remaining_nanos = settled.remaining_nanos


def _record_failure(failed: Failed, led: bool, record: RequestRecord, now_ms: int) -> None:
    """A failure of another request's call, or a remembered one, costs nothing."""
    recalled = failed.scope is FailureScope.RECALLED
    if not led or recalled:
        record.cost_nanos = 0
    if recalled and (known := failed.remembered):
        record.cause = "remembered_refusal"
        record.age_seconds = max(0, now_ms - known.since_ms) // 1000
        record.cache = CacheStatus(
            Outcome.HIT,
            key=record.fingerprint,
            ttl_seconds=max(0, known.until_ms - now_ms) // 1000,
            detail=known.detail,
        )
