"""Guessing at keys is slowed down, and nobody else is."""

from __future__ import annotations

import pytest

from gateway.errors import Refusal
from gateway.rules.throttle import MOST_ADDRESSES, MOST_FAILURES, WINDOW_MS, Throttle


def guessed(times: int, address: str = "10.0.0.1", now_ms: int = 0) -> Throttle:
    throttle = Throttle()
    for _ in range(times):
        throttle.failed(address, now_ms)
    return throttle


def test_a_few_mistakes_are_nothing() -> None:
    assert guessed(MOST_FAILURES - 1).check("10.0.0.1", 0) is None


def test_guessing_is_stopped_and_says_how_long() -> None:
    with pytest.raises(Refusal) as refused:
        guessed(MOST_FAILURES).check("10.0.0.1", 30_000)

    assert refused.value.code == "too_many_failures"
    assert refused.value.retry_after_seconds == 30


def test_another_address_goes_on() -> None:
    assert guessed(MOST_FAILURES).check("10.0.0.2", 0) is None


def test_a_whole_ipv6_network_is_one_guesser() -> None:
    throttle = Throttle()
    for number in range(MOST_FAILURES):
        throttle.failed(f"2001:db8::{number:x}", 0)

    with pytest.raises(Refusal):
        throttle.check("2001:db8::ffff", 0)
    assert throttle.check("2001:db8:0:1::1", 0) is None


def test_after_the_minute_it_is_forgotten() -> None:
    throttle = guessed(MOST_FAILURES)

    assert throttle.check("10.0.0.1", WINDOW_MS) is None
    throttle.failed("10.0.0.1", WINDOW_MS)
    assert throttle.check("10.0.0.1", WINDOW_MS) is None


def test_it_never_holds_more_than_so_many_addresses() -> None:
    throttle = Throttle()
    for number in range(MOST_ADDRESSES + 10):
        throttle.failed(f"host-{number}", 0)

    assert len(throttle._failures) == MOST_ADDRESSES
