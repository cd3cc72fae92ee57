"""What an answer or a failure of the upstream means: for the money, for a retry, for the circuit.

A call is retried only where it provably bought nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LONGEST_WAIT_SECONDS = 20.0
"""Upstreams that ask for a longer wait are not waited for."""
_FIRST_WAIT_SECONDS = 0.25

RetryReason = Literal["unreachable", "busy", "unavailable", "key"]

_REASONS: Mapping[int, RetryReason] = {401: "key", 403: "key", 429: "busy", 503: "unavailable"}
"""Answers that a retry may improve on, where they are not charged."""
_KEY_REASONS = frozenset({"busy", "key"})
"""Another key may be used at once."""
_ACCOUNT_FAILURES = frozenset({401, 402})
"""Statuses below 500 that concern every call. A 403 may concern one model, or a prompt that a
firewall refuses: if it counted, a client that repeats such an edit would open the circuit."""


@dataclass(frozen=True, slots=True)
class RetryVerdict:
    """The meaning of a call that brought no picture."""

    charged: bool
    """The call may have been charged."""
    reason: RetryReason | None = None
    """Why a retry may succeed; None: no retry."""
    opens_circuit: bool = True
    """The failure concerns other calls too, so the circuit breaker counts it."""
    asked_seconds: float = 0.0
    """How long the upstream has asked to wait before a retry."""


NOT_ATTEMPTED = RetryVerdict(charged=False, opens_circuit=False)
UNSENT = RetryVerdict(charged=False, reason="unreachable")
UNREADABLE = RetryVerdict(charged=True)
"""A 200 that holds no picture, or a stream that ended with an error."""
INTERNAL_ERROR = RetryVerdict(charged=True, opens_circuit=False)


def verdict_of_broken(failure: str) -> RetryVerdict:
    """Of a call without a complete answer; one that is too large comes from a sound upstream."""
    return RetryVerdict(charged=True, opens_circuit=failure != "too_large")


def verdict_of_answer(
    status: int,
    *,
    uncharged: tuple[str, ...],
    retry_after_seconds: float | None,
    backoff_seconds: float,
    has_good_key: bool,
    account_code: bool = False,
) -> RetryVerdict:
    """Of an answer that is not a 200.

    `backoff_seconds` is how long every key has been asked to wait, this answer included;
    `has_good_key` says whether a key is left that was not refused; `account_code` that the answer's
    code says that the account can't pay.
    """
    charged = not is_uncharged(status, uncharged)
    if account_code or 300 <= status < 400:
        return RetryVerdict(charged)
    reason = None if charged else _REASONS.get(status)
    if reason == "key" and not has_good_key:
        reason = None
    asked = backoff_seconds if reason in _KEY_REASONS else retry_after_seconds
    concerns_all = status >= 500 or (status in _ACCOUNT_FAILURES and reason != "key")
    return RetryVerdict(charged, reason, concerns_all, asked or 0.0)


def is_uncharged(status: int, uncharged: tuple[str, ...]) -> bool:
    """Is an answer of this status not charged? A redirect never is."""
    if 300 <= status < 400:
        return True
    return any(rule in (str(status), f"{status // 100}xx") for rule in uncharged)


def wait_before_call(backoff_seconds: float, jitter: float) -> float | None:
    """The wait before a first attempt; None where the upstream has asked for too long a one.

    `jitter` is uniform in [0, 1): calls that wait for the same moment are spread.
    """
    if backoff_seconds > LONGEST_WAIT_SECONDS:
        return None
    return backoff_seconds + jitter * _FIRST_WAIT_SECONDS if backoff_seconds else 0.0


def wait_before_retry(
    verdict: RetryVerdict,
    *,
    attempt: int,
    max_attempts: int,
    keys: int,
    jitter: float,
    seconds_left: float,
) -> float | None:
    """The wait before the next attempt; None where there is none.

    `attempt` counts from 1 and `jitter` is uniform in [0, 1): full jitter on top of the wait that
    the upstream has asked for. With another key there is no wait, and each key gets an attempt.
    """
    if verdict.reason is None:
        return None
    asked = verdict.asked_seconds
    other_key = keys > 1 and verdict.reason in _KEY_REASONS and not asked
    if attempt >= (max(max_attempts, keys) if other_key else max_attempts):
        return None
    backoff = min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt) * jitter
    wait = 0.0 if other_key else asked + backoff
    return None if asked > LONGEST_WAIT_SECONDS or wait > seconds_left else wait
