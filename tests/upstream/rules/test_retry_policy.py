"""Another try: only within its budget, with full jitter, and never before the upstream's time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rules.retry_policy import (
    LONGEST_WAIT_SECONDS,
    NOT_ATTEMPTED,
    UNSENT,
    RetryReason,
    RetryVerdict,
    is_uncharged,
    verdict_of_answer,
    verdict_of_broken,
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
        RetryVerdict(charged=False, reason=reason, asked_seconds=asked_seconds),
        attempt=attempt,
        max_attempts=max_attempts,
        keys=keys,
        jitter=jitter,
        seconds_left=seconds_left,
    )


def verdict(
    status: int,
    *,
    uncharged: tuple[str, ...] = ("4xx", "503"),
    has_good_key: bool = True,
    **more: Any,
) -> RetryVerdict:
    seconds: dict[str, Any] = {"retry_after_seconds": None, "backoff_seconds": 0.0, **more}
    return verdict_of_answer(status, uncharged=uncharged, has_good_key=has_good_key, **seconds)


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


def test_an_answer_is_retried_only_where_it_was_not_charged() -> None:
    assert [verdict(status).reason for status in (400, 402, 429, 503, 500)] == [
        None, None, "busy", "unavailable", None,
    ]  # fmt: skip
    charged = verdict(503, uncharged=("4xx",))
    assert (charged.charged, charged.reason) == (True, None)


def test_a_refused_key_is_retried_while_another_is_good() -> None:
    assert verdict(401).reason == verdict(403).reason == "key"
    assert verdict(401, has_good_key=False).reason is None


def test_a_busy_answer_waits_for_the_keys_and_an_unavailable_one_for_itself() -> None:
    asked: dict[str, Any] = {"retry_after_seconds": 7.0, "backoff_seconds": 3.0}
    assert verdict(429, **asked).asked_seconds == 3.0
    assert verdict(503, **asked).asked_seconds == 7.0


def test_the_circuit_counts_what_concerns_every_call() -> None:
    counted = [verdict(status).opens_circuit for status in (400, 402, 403, 429, 500, 503)]
    assert counted == [False, True, False, False, True, True]
    assert not verdict(401).opens_circuit
    assert verdict(401, has_good_key=False).opens_circuit
    assert not verdict(403, has_good_key=False).opens_circuit
    assert verdict_of_broken("timeout").opens_circuit
    assert not verdict_of_broken("too_large").opens_circuit


def test_uncharged_is_a_status_or_a_class_of_them() -> None:
    rules = ("4xx", "503")
    assert [is_uncharged(status, rules) for status in (400, 429, 500, 503)] == [
        True, True, False, True,
    ]  # fmt: skip
