"""Another try: only within its budget, with full jitter, and never before the upstream's time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rules.retry_policy import LONGEST_WAIT_SECONDS, again, is_uncharged


def wait(**more: Any) -> float | None:
    asked: dict[str, Any] = {
        "attempt": 1, "max_attempts": 3, "asked_seconds": 0.0, "jitter": 0.5, "seconds_left": 600.0,
        **more,
    }  # fmt: skip
    found = again(**asked)
    return found.wait_seconds if found else None


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


def test_another_way_is_taken_at_once_but_only_so_often() -> None:
    assert wait(jitter=1.0, at_once=True) == 0.0
    assert wait(attempt=3, at_once=True) is None


@given(
    attempt=st.integers(1, 40),
    asked=st.floats(0, 1e9),
    jitter=st.floats(0, 1, exclude_max=True),
    left=st.floats(-10, 1200),
    at_once=st.booleans(),
)
def test_no_wait_is_shorter_than_asked_for_or_longer_than_what_is_left(
    attempt: int, asked: float, jitter: float, left: float, at_once: bool
) -> None:
    asked = 0.0 if at_once else asked
    found = wait(
        attempt=attempt, max_attempts=41, asked_seconds=asked, jitter=jitter, seconds_left=left,
        at_once=at_once,
    )  # fmt: skip
    assert found is None or asked <= found <= min(left, 2 * LONGEST_WAIT_SECONDS)


def test_uncharged_is_a_status_or_a_class_of_them() -> None:
    rules = ("4xx", "503")
    assert [is_uncharged(status, rules) for status in (400, 429, 500, 503)] == [
        True, True, False, True,
    ]  # fmt: skip
