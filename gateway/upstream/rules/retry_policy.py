"""When a call that provably bought nothing is tried again, and after which wait."""

from __future__ import annotations

from gateway.upstream.rules.call_verdict import KEY_REASONS, CallVerdict

LONGEST_WAIT_SECONDS = 20.0
"""Upstreams that ask for a longer wait are not waited for."""
_FIRST_WAIT_SECONDS = 0.25


def wait_before_call(backoff_seconds: float, jitter: float) -> float | None:
    """The wait before a first attempt; None where the upstream has asked for too long a one.

    `jitter` is uniform in [0, 1): calls that wait for the same moment are spread.
    """
    if backoff_seconds > LONGEST_WAIT_SECONDS:
        return None
    return backoff_seconds + jitter * _FIRST_WAIT_SECONDS if backoff_seconds else 0.0


def wait_before_retry(
    verdict: CallVerdict,
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
    other_key = keys > 1 and verdict.reason in KEY_REASONS and not asked
    if attempt >= (max(max_attempts, keys) if other_key else max_attempts):
        return None
    backoff = min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt) * jitter
    wait = 0.0 if other_key else asked + backoff
    return None if asked > LONGEST_WAIT_SECONDS or wait > seconds_left else wait
