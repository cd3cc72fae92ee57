"""Guessing at keys is slowed down, and nobody else is."""

from __future__ import annotations

import pytest

from gateway.accounts.rules.guess_throttle import (
    MOST_ADDRESSES,
    MOST_FAILURES,
    WINDOW_MS,
    GuessThrottle,
)
from gateway.model.errors import Refusal


def guessed(times: int, address: str = "10.0.0.1", now_ms: int = 0) -> GuessThrottle:
    throttle = GuessThrottle()
    for _ in range(times):
        throttle.failed(address, now_ms)
    return throttle


def is_stopped(throttle: GuessThrottle, address: str, now_ms: int = 0) -> bool:
    try:
        throttle.failed(address, now_ms)
    except Refusal:
        return True
    return False


def test_a_few_mistakes_are_nothing() -> None:
    assert not is_stopped(guessed(MOST_FAILURES - 1), "10.0.0.1")


def test_guessing_is_stopped_and_says_how_long() -> None:
    throttle = guessed(MOST_FAILURES)
    with pytest.raises(Refusal) as refused:
        throttle.failed("10.0.0.1", 30_000)

    assert refused.value.code == "too_many_failures"
    assert refused.value.retry_after_seconds == 30


def test_another_address_is_not_stopped() -> None:
    assert not is_stopped(guessed(MOST_FAILURES), "10.0.0.2")


def test_a_whole_ipv6_network_is_one_guesser() -> None:
    throttle = GuessThrottle()
    for number in range(MOST_FAILURES):
        throttle.failed(f"2001:db8::{number:x}", 0)

    assert is_stopped(throttle, "2001:db8::ffff")
    assert not is_stopped(throttle, "2001:db8:0:1::1")


def test_after_the_minute_it_is_forgotten() -> None:
    throttle = guessed(MOST_FAILURES)

    assert is_stopped(throttle, "10.0.0.1", WINDOW_MS - 1)
    assert not is_stopped(throttle, "10.0.0.1", WINDOW_MS)


def test_looking_whether_it_is_stopped_counts_nothing() -> None:
    throttle = guessed(MOST_FAILURES - 1)
    for _ in range(5):
        throttle.check("10.0.0.1", 0)
    throttle.failed("10.0.0.1", 0)

    with pytest.raises(Refusal) as refused:
        throttle.check("10.0.0.1", 30_000)
    assert refused.value.retry_after_seconds == 30
    throttle.check("10.0.0.2", 0)
    throttle.check("10.0.0.1", WINDOW_MS)


def test_it_never_holds_more_than_so_many_addresses() -> None:
    throttle = GuessThrottle()
    for number in range(MOST_ADDRESSES + 10):
        throttle.failed(f"10.1.{number // 256}.{number % 256}", 0)

    assert len(throttle._failures) == MOST_ADDRESSES


def test_an_ipv4_address_is_itself_however_it_is_written() -> None:
    throttle = guessed(MOST_FAILURES, "::ffff:10.0.0.1")

    assert is_stopped(throttle, "10.0.0.1")
    assert not is_stopped(throttle, "::ffff:10.0.0.2")


def test_addresses_that_are_none_are_all_one() -> None:
    throttle = GuessThrottle()
    for number in range(MOST_FAILURES):
        throttle.failed("x" * number, 0)

    assert is_stopped(throttle, "another")
    assert len(throttle._failures) == 1
