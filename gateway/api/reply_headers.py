"""The headers of a reply: what the picture cost, where it came from, what is left to spend."""

from __future__ import annotations

from gateway.api.responses import rate_headers
from gateway.edits.edit_request import Reply
from gateway.model.money import usd
from gateway.telemetry.request_record import RequestRecord
from gateway.wire.cache_status import CACHE_WORDS


def reply_headers(reply: Reply, record: RequestRecord) -> dict[str, str]:
    """The headers of a picture."""
    headers = {"content-type": reply.content_type, **record_headers(record)}
    if reply.cache:
        headers["x-gateway-cache"] = CACHE_WORDS[reply.cache.outcome]
        headers["cache-status"] = reply.cache.header(record.cache_control_ignored)
    if reply.age_seconds is not None:
        headers["age"] = str(reply.age_seconds)
    if record.references:
        cap = "" if record.reference_cap is None else f"/{record.reference_cap}"
        headers["x-gateway-reference-images"] = f"{record.references}{cap}"
    return headers


def stream_headers(reply: Reply, record: RequestRecord) -> dict[str, str]:
    """The headers of a stream that begins; what it costs comes with the last event.

    Some proxies gather an answer before they pass it on, unless told not to.
    """
    return {**reply_headers(reply, record), "cache-control": "no-cache", "x-accel-buffering": "no"}


def record_headers(record: RequestRecord) -> dict[str, str]:
    """The headers of a picture and of a refusal alike."""
    stages = record.stages.items()
    timing = ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages)
    headers = {"server-timing": timing}
    if record.cost_nanos is not None:
        headers["x-gateway-cost-usd"] = usd(record.cost_nanos)
        headers["x-gateway-saved-usd"] = usd(record.saved_nanos)
    if record.remaining_nanos is not None:
        headers["x-gateway-budget-remaining-usd"] = usd(max(0, record.remaining_nanos))
    if record.cost_kind:
        headers["x-gateway-cost-kind"] = record.cost_kind
    if record.cost_kind == "estimated":
        headers["x-gateway-cost-estimated"] = "true"
    if record.upstream:
        headers["x-gateway-upstream"] = record.upstream
    if record.upstream_request_id:
        headers["x-gateway-upstream-request-id"] = record.upstream_request_id
    if record.rate_status:
        headers.update(rate_headers(record.rate_status))
    return headers
