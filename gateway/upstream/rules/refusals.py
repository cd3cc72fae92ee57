"""What the client is told of an upstream failure, or of a call that was not made."""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.model.errors import Refusal
from gateway.wire.answer import upstream_error

_MOST_TOLD_CHARS = 300
_BUSY_SECONDS = 5.0
ACCOUNT_STATUSES = frozenset({401, 402, 403})
_ACCOUNT_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
)
"""Codes and types with which some upstreams answer 400 or 429 if the account can't pay."""
_ACCOUNT = (
    "The upstream refused the gateway's own account{}. Nothing is wrong with your request; ask "
    "the operator of the gateway to check the upstream key and credit."
)
_MAY_BE_CHARGED = (
    "It may have charged for this call, so it is not tried again by itself; to buy it again, send "
    "the same edit with X-Gateway-Cache-Control: no-cache."
)
_BREAKS = {
    "timeout": "did not answer in time",
    "encoded": "sent an answer in a content encoding, though none was accepted",
    "too_large": "sent an answer larger than is taken here",
    "garbage": "sent an answer that can't be read",
    "failed": "broke the connection before its answer was complete",
}


def account_code(status: int, body: bytes) -> str:
    """The code of a 4xx that says that the account can't pay, or ""."""
    error = upstream_error(body) if 400 <= status < 500 else None
    return next((c for c in (error.code, error.type) if c in _ACCOUNT_CODES), "") if error else ""


def refusal_of_answer(
    status: int,
    body: bytes,
    retry_after_seconds: float | None = None,
    *,
    charged: bool = False,
    location: str = "",
    account_code: str = "",
) -> Refusal:
    """Of an answer that is not a 200; its own error is passed on where possible.

    Where the answer may have been `charged`, the client is not told to try again. `location` is
    the target of a redirect, `account_code` what the function of that name found in the body.
    """
    if status in ACCOUNT_STATUSES or account_code:
        reason = f" ({status} {account_code})" if account_code else f" ({status})"
        return Refusal("upstream_account", _ACCOUNT.format(reason), source="upstream")
    if 300 <= status < 400:
        return Refusal(
            "upstream_failed",
            f"The upstream redirects this call ({status}) to {location or 'no address'}; redirects "
            "are not followed and nothing was charged. Ask the operator of the gateway to correct "
            "the base_url of the upstream.",
            status_override=502,
            source="upstream",
        )
    if status in (429, 503) and not charged:
        told = _BUSY_SECONDS if retry_after_seconds is None else retry_after_seconds
        return Refusal(
            "upstream_busy",
            f"The upstream is busy ({status}), also after the gateway tried again; nothing was "
            "charged. Try again shortly.",
            status_override=status,
            retry_after_seconds=told,
            source="upstream",
        )
    if 400 <= status < 500 and status != 429:
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
        f"The upstream failed ({status}). {_MAY_BE_CHARGED}",
        status_override=502,
        source="upstream",
    )


def refusal_of_break(why: str) -> Refusal:
    """Of a call that left but brought no complete answer."""
    return Refusal(
        "upstream_timeout" if why == "timeout" else "upstream_failed",
        f"The upstream {_BREAKS[why]}. {_MAY_BE_CHARGED}",
        source="upstream",
    )


def refusal_in_answer(message: str) -> Refusal:
    """Of a 200 that says why there is no picture; what it used of the prompt may be charged."""
    said = message[:_MOST_TOLD_CHARS].strip()
    return Refusal(
        "upstream_refused", f"{said} Change the prompt or the pictures.", source="upstream"
    )


def refusal_of_error_event(data: bytes) -> Refusal:
    """Of a stream that ended with an error event: the call was accepted and may be charged."""
    error = upstream_error(data)
    said = f" ({error.message[:_MOST_TOLD_CHARS].strip(' .')})" if error else ""
    return Refusal(
        "upstream_failed",
        f"The upstream ended its stream with an error{said}. {_MAY_BE_CHARGED}",
        source="upstream",
    )


def refusal_of_unsent() -> Refusal:
    """Of a call that provably never left."""
    return Refusal(
        "upstream_unreachable",
        "The upstream can't be reached; nothing was sent and nothing was charged. Try again "
        "shortly.",
        retry_after_seconds=5,
        source="upstream",
    )


def refusal_while_resting(seconds: float) -> Refusal:
    """While the upstream has asked for a longer wait than a call can take."""
    return Refusal(
        "upstream_busy",
        "The upstream has asked the gateway to wait; nothing was sent and nothing was charged. "
        "Try again later.",
        status_override=429,
        retry_after_seconds=seconds,
        source="upstream",
    )


def refusal_while_open(why: str, seconds: float) -> Refusal:
    """While the circuit is open; `why` is the code of the last failure."""
    if why == "upstream_account":
        return Refusal(why, _ACCOUNT.format(", time and again"), source="upstream")
    return Refusal(
        "overloaded",
        "The upstream has failed several times in a row, so no calls are made for now; nothing "
        "was sent and nothing was charged. Stored pictures are still served.",
        retry_after_seconds=seconds,
    )


def refusal_while_closing() -> Refusal:
    """Of a call that had not begun when the gateway shut down."""
    return Refusal(
        "shutting_down",
        "The gateway is shutting down; nothing was sent and nothing was charged. Try again: "
        "another one answers, or this one when it is back.",
        retry_after_seconds=2,
    )


def refusal_of_full_queue() -> Refusal:
    """Where the queue for the upstream is full."""
    return Refusal(
        "overloaded",
        "As many edits as the gateway takes are running or waiting already; nothing was charged. "
        "Try again shortly.",
        retry_after_seconds=_BUSY_SECONDS,
    )


def refusal_of_long_wait() -> Refusal:
    """Of a call that waited too long in the queue."""
    return Refusal(
        "overloaded",
        "Too many edits are running to get to this one in time; nothing was charged. Try again "
        "shortly.",
        retry_after_seconds=_BUSY_SECONDS,
    )


def with_likely_setting(refusal: Refusal, likely: str) -> Refusal:
    """The refusal, its message with the setting that the operator should look at."""
    text = f"No edit has succeeded at this upstream yet; likely wrong is {likely}."
    if refusal.body is None:
        return replace(refusal, message=f"{refusal.message} {text}")
    document = json.loads(refusal.body)
    document["error"]["message"] = f"{document['error'].get('message') or ''} {text}".strip()
    return replace(refusal, body=json.dumps(document).encode())


def _is_envelope(body: bytes) -> bool:
    """Is this `{"error": {…}}`, small enough to pass on?"""
    if len(body) > 64 * 1024:
        return False
    try:
        document = json.loads(body.decode())  # JSON in another encoding is kept and shown nowhere
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)
