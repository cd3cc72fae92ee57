"""The headers of an answer and of a refusal."""

from __future__ import annotations

import math

from gateway.edits.edit_request import Reply
from gateway.model.errors import Refusal, Retry
from gateway.telemetry.request_record import RequestRecord
from gateway.wire.response_headers import (
    CACHE_WORDS,
    money_headers,
    rate_headers,
    references_header,
    server_timing,
)

RETRIED_BY_SDKS = frozenset({408, 409, 429})
LONGEST_RETRY_AFTER_SECONDS = 60


def reply_headers(reply: Reply, trace: RequestRecord) -> dict[str, str]:
    """What a client is told with a picture."""
    headers = {"content-type": reply.content_type, **_common(trace)}
    if reply.cache:
        headers["x-gateway-cache"] = CACHE_WORDS[reply.cache.outcome]
        headers["cache-status"] = reply.cache.header()
    if reply.age_seconds is not None:
        headers["age"] = str(reply.age_seconds)
    if trace.references:
        headers["x-gateway-reference-images"] = references_header(
            trace.references, trace.reference_cap
        )
    return headers


def stream_headers(reply: Reply, trace: RequestRecord) -> dict[str, str]:
    """What a client is told as its stream begins; what it costs comes with the last event.

    Some proxies gather an answer before they pass it on, unless told not to.
    """
    return {**reply_headers(reply, trace), "cache-control": "no-cache", "x-accel-buffering": "no"}


def refusal_headers(
    refusal: Refusal, trace: RequestRecord | None, request_id: str
) -> dict[str, str]:
    """What a client is told with a refusal; above all whether to try again.

    SDKs go by the status unless `x-should-retry` says otherwise, and not all heed a long
    `Retry-After`.
    """
    headers = {
        "content-type": "application/json",
        "x-gateway-error-source": refusal.source,
        "x-request-id": request_id,
        **(_common(trace) if trace else {}),
        **(rate_headers(refusal.rate_status) if refusal.rate_status else {}),
    }
    if trace and trace.cache:
        headers["cache-status"] = trace.cache.header()
        headers["age"] = str(trace.age_seconds or 0)
    retried_by_status = refusal.status in RETRIED_BY_SDKS or refusal.status >= 500
    if refusal.kind.retry is Retry.YES:
        headers["x-should-retry"] = "true"
        wait = min(LONGEST_RETRY_AFTER_SECONDS, max(1, math.ceil(refusal.retry_after_seconds or 1)))
        headers["retry-after"] = str(wait)
    elif retried_by_status:
        headers["x-should-retry"] = "false"
    return headers


def _common(trace: RequestRecord) -> dict[str, str]:
    headers = {
        "x-request-id": trace.request_id,
        "server-timing": server_timing(trace.stages),
        **money_headers(
            cost_nanos=trace.cost_nanos,
            saved_nanos=trace.saved_nanos,
            remaining_nanos=trace.remaining_nanos,
        ),
    }
    if trace.estimated:
        headers["x-gateway-cost-estimated"] = "true"
    if trace.upstream_request_id:
        headers["x-gateway-upstream-request-id"] = trace.upstream_request_id
    if trace.rate_status:
        headers.update(rate_headers(trace.rate_status))
    return headers
