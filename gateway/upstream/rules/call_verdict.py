"""What an answer or a failure of the upstream means: for the money, for a retry, for the circuit.

A call is retried only where it provably bought nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

RetryReason = Literal["unreachable", "busy", "unavailable", "key"]

_REASONS: Mapping[int, RetryReason] = {401: "key", 403: "key", 429: "busy", 503: "unavailable"}
"""Answers that a retry may improve on, where they are not charged."""
KEY_REASONS = frozenset({"busy", "key"})
"""Another key may be used at once."""
_ACCOUNT_FAILURES = frozenset({401, 402})
"""Statuses below 500 that concern every call. A 403 may concern one model, or a prompt that a
firewall refuses: if it counted, a client that repeats such an edit would open the circuit."""


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """The meaning of a call that brought no picture."""

    charged: bool
    """The call may have been charged."""
    reason: RetryReason | None = None
    """Why a retry may succeed; None: no retry."""
    opens_circuit: bool = True
    """The failure concerns other calls too, so the circuit breaker counts it."""
    asked_seconds: float = 0.0
    """How long the upstream has asked to wait before a retry."""


NOT_ATTEMPTED = CallVerdict(charged=False, opens_circuit=False)
UNSENT = CallVerdict(charged=False, reason="unreachable")
UNREADABLE = CallVerdict(charged=True)
"""A 200 that holds no picture, or a stream that ended with an error."""
REFUSED = CallVerdict(charged=True, opens_circuit=False)
"""A 200 that says why there is no picture, such as a prompt that a safety system stopped."""
INTERNAL_ERROR = CallVerdict(charged=True, opens_circuit=False)


def verdict_of_broken(failure: str) -> CallVerdict:
    """Of a call without a complete answer; one that is too large comes from a sound upstream."""
    return CallVerdict(charged=True, opens_circuit=failure != "too_large")


def verdict_of_answer(
    status: int,
    *,
    uncharged: tuple[str, ...],
    retry_after_seconds: float | None,
    backoff_seconds: float,
    has_good_key: bool,
    account_code: bool = False,
) -> CallVerdict:
    """Of an answer that is not a 200.

    `backoff_seconds` is how long every key has been asked to wait, this answer included;
    `has_good_key` says whether a key is left that was not refused; `account_code` that the answer's
    code says that the account can't pay.
    """
    charged = not is_uncharged(status, uncharged)
    if account_code or 300 <= status < 400:
        return CallVerdict(charged)
    reason = None if charged else _REASONS.get(status)
    if reason == "key" and not has_good_key:
        reason = None
    asked = backoff_seconds if reason in KEY_REASONS else retry_after_seconds
    concerns_all = status >= 500 or (status in _ACCOUNT_FAILURES and reason != "key")
    return CallVerdict(charged, reason, concerns_all, asked or 0.0)


def is_uncharged(status: int, uncharged: tuple[str, ...]) -> bool:
    """Is an answer of this status not charged? A redirect never is."""
    if 300 <= status < 400:
        return True
    return any(rule in (str(status), f"{status // 100}xx") for rule in uncharged)
