"""What an upstream call that brought no picture means for the client."""

from __future__ import annotations

import json

from gateway.errors import Refusal
from gateway.rules.answers import upstream_error

_MOST_TOLD_CHARS = 300
_ACCOUNT = frozenset({401, 402, 403})


def refusal_of_answer(status: int, body: bytes, retry_after: str = "") -> Refusal:
    """The refusal for an upstream answer that is not a 200, its own error kept where it may be."""
    if status in _ACCOUNT:
        return Refusal(
            "upstream_account",
            f"The upstream refused the gateway's own account ({status}). Nothing is wrong with "
            "your request; tell whoever runs the gateway to check the upstream key and credit.",
            source="upstream",
        )
    if status in (429, 503):
        return Refusal(
            "upstream_busy",
            f"The upstream is busy ({status}), also after the gateway tried again; nothing was "
            "charged. Try again shortly.",
            status_override=status,
            retry_after_seconds=_seconds(retry_after),
            source="upstream",
        )
    if 400 <= status < 500:
        own = body if _is_envelope(body) else None
        return Refusal(
            "upstream_refused",
            f"The upstream refused this edit ({status}) without saying why in a form that can "
            "be passed on.",
            status_override=status,
            body=own,
            source="upstream",
        )
    return Refusal(
        "upstream_failed",
        f"The upstream failed ({status}). It may have charged for this call, so it is not tried "
        "again by itself; to buy it again, send the same edit with Cache-Control: no-cache.",
        status_override=502,
        source="upstream",
    )


def refusal_of_break(why: str) -> Refusal:
    """The refusal for a call that left but brought no complete answer."""
    if why == "timeout":
        what, code = "did not answer in time", "upstream_timeout"
    elif why == "too_large":
        what, code = "sent an answer larger than is taken here", "upstream_failed"
    elif why == "garbage":
        what, code = "sent an answer that can't be read", "upstream_failed"
    else:
        what, code = "broke the connection before its answer was complete", "upstream_failed"
    return Refusal(
        code,
        f"The upstream {what}. It may have charged for this call, so it is not tried again by "
        "itself; to buy it again, send the same edit with Cache-Control: no-cache.",
        source="upstream",
    )


def refusal_of_error_event(data: bytes) -> Refusal:
    """The refusal for a stream that ended in an error event.

    Whatever it says of itself: the call had been taken, and may have been charged.
    """
    error = upstream_error(data)
    said = f" ({error.message[:_MOST_TOLD_CHARS].strip(' .')})" if error else ""
    return Refusal(
        "upstream_failed",
        f"The upstream ended its stream with an error{said}. It may have charged for this call, "
        "so it is not tried again by itself; to buy it again, send the same edit with "
        "Cache-Control: no-cache.",
        source="upstream",
    )


def refusal_of_unsent() -> Refusal:
    """The refusal for a call that provably never left."""
    return Refusal(
        "upstream_unreachable",
        "The upstream can't be reached; nothing was sent and nothing was charged. Try again "
        "shortly.",
        retry_after_seconds=5,
        source="upstream",
    )


def _is_envelope(body: bytes) -> bool:
    """Is this `{"error": {…}}`, small enough to pass on?"""
    if len(body) > 64 * 1024:
        return False
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _seconds(retry_after: str) -> float:
    """A `Retry-After` in seconds, at most 60 so that every SDK heeds it."""
    return min(60.0, float(retry_after)) if retry_after.isdecimal() else 5.0
