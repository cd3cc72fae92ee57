"""Another try: only within its budget, with full jitter, and never before the upstream's time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rules.call_verdict import (
    NOT_ATTEMPTED,
    UNSENT,
    CallVerdict,
    RetryReason,
)
from gateway.upstream.rules.retry_policy import (
    LONGEST_WAIT_SECONDS,
    wait_before_call,
    wait_before_retry,
)


def wait(
    *,
    reason: RetryReason | None = "unavailable",
    asked_seconds: float = 0.0,
    attempt: int = 1,
    max_attempts: int = 3,
    keys: int = 1,
    jitter: float = 0.5,
    seconds_left: float = 600.0,
) -> float | None:
    return wait_before_retry(
        CallVerdict(charged=False, reason=reason, asked_seconds=asked_seconds),
        attempt=attempt,
        max_attempts=max_attempts,
        keys=keys,
        jitter=jitter,
        seconds_left=seconds_left,
    )


def test_tries_end_with_their_number() -> None:
    assert wait(attempt=2) is not None
    assert wait(attempt=3) is None
    assert wait(attempt=1, max_attempts=1) is None


def test_waits_grow_and_are_anything_from_nothing_up() -> None:
    assert wait(jitter=0.0) == 0.0
    assert wait(jitter=1.0) == 0.5
    assert wait(attempt=2, jitter=1.0) == 1.0


def test_what_the_upstream_asked_for_is_heeded_with_jitter_on_top() -> None:
    assert wait(asked_seconds=7.0, jitter=0.0) == 7.0
    assert wait(asked_seconds=7.0, jitter=1.0) == 7.5


def test_who_is_asked_to_wait_too_long_gives_up() -> None:
    assert wait(asked_seconds=LONGEST_WAIT_SECONDS + 1) is None
    assert wait(asked_seconds=7.0, seconds_left=6.0) is None
    assert wait(seconds_left=-1.0) is None


def test_another_key_is_used_at_once_and_each_key_once() -> None:
    assert wait(reason="busy", jitter=1.0, keys=2) == 0.0
    assert wait(reason="key", attempt=3, keys=4) == 0.0
    assert wait(reason="key", attempt=4, keys=4) is None
    assert wait(reason="unavailable", jitter=1.0, keys=2) == 0.5
    assert wait(reason="busy", asked_seconds=7.0, jitter=0.0, keys=2) == 7.0


def test_without_a_reason_there_is_no_retry() -> None:
    assert wait(reason=None) is None
    assert NOT_ATTEMPTED.reason is None
    assert UNSENT.reason == "unreachable"
    assert not UNSENT.charged


@given(
    reason=st.sampled_from(["unreachable", "busy", "unavailable", "key"]),
    keys=st.integers(1, 9),
    attempt=st.integers(1, 40),
    asked=st.floats(0, 1e9),
    jitter=st.floats(0, 1, exclude_max=True),
    left=st.floats(-10, 1200),
)
def test_no_wait_is_shorter_than_asked_for_or_longer_than_what_is_left(
    reason: RetryReason, keys: int, attempt: int, asked: float, jitter: float, left: float
) -> None:
    found = wait(
        reason=reason,
        keys=keys,
        attempt=attempt,
        max_attempts=41,
        asked_seconds=asked,
        jitter=jitter,
        seconds_left=left,
    )
    assert found is None or asked <= found <= min(left, 2 * LONGEST_WAIT_SECONDS)


def test_a_first_attempt_waits_as_long_as_was_asked_or_not_at_all() -> None:
    assert wait_before_call(0.0, jitter=0.9) == 0.0
    assert wait_before_call(5.0, jitter=0.0) == 5.0
    assert wait_before_call(5.0, jitter=0.4) == 5.1
    assert wait_before_call(LONGEST_WAIT_SECONDS + 1, jitter=0.0) is None
