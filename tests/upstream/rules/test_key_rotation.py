"""Keys in turn; those that were told to wait rest, and refused ones are the last resort."""

from __future__ import annotations

from gateway.upstream.rules.key_rotation import LONGEST_REST_SECONDS, REFUSED_SECONDS, KeyRotation


def takes(keys: KeyRotation, now: float, count: int) -> list[int]:
    return [keys.take(now) for _ in range(count)]


def test_keys_take_turns() -> None:
    assert takes(KeyRotation(3), 0.0, 7) == [0, 1, 2, 0, 1, 2, 0]
    assert takes(KeyRotation(1), 0.0, 2) == [0, 0]


def test_a_busy_key_rests_as_long_as_it_was_told_while_the_others_go_on() -> None:
    keys = KeyRotation(3)
    keys.record_answer(1, 429, 10.0, now=0.0)

    assert takes(keys, 9.9, 3) == [0, 2, 0]
    assert takes(keys, 10.0, 3) == [1, 2, 0]
    assert keys.backoff_seconds(0.0) == 0.0


def test_where_all_rest_the_first_to_wake_is_waited_for() -> None:
    keys = KeyRotation(2)
    keys.record_answer(0, 429, 10.0, now=0.0)
    keys.record_answer(1, 429, 4.0, now=0.0)

    assert keys.backoff_seconds(1.0) == 3.0
    assert keys.take(1.0) == 1
    assert keys.backoff_seconds(4.0) == 0.0


def test_a_429_that_does_not_say_is_a_short_rest_and_no_rest_is_for_ever() -> None:
    keys = KeyRotation(1)
    keys.record_answer(0, 429, None, now=0.0)
    assert keys.backoff_seconds(0.0) == 1.0
    keys.record_answer(0, 429, 1e12, now=0.0)
    assert keys.backoff_seconds(0.0) == LONGEST_REST_SECONDS


def test_a_refused_key_is_left_alone_longer_and_is_good_again_once_it_works() -> None:
    keys = KeyRotation(2)
    keys.record_answer(0, 401, None, now=0.0)

    assert takes(keys, REFUSED_SECONDS - 1, 3) == [1, 1, 1]
    assert keys.take(REFUSED_SECONDS) == 0
    keys.record_answer(0, 403, None, now=0.0)
    keys.record_answer(0, 200, None, now=1.0)
    assert takes(keys, 1.0, 2) == [1, 0]


def test_where_all_are_refused_each_is_asked_again_in_its_turn() -> None:
    keys = KeyRotation(2)
    assert keys.has_good(0.0)
    for key in range(2):
        keys.record_answer(key, 403, None, now=0.0)

    assert not keys.has_good(0.0)
    assert takes(keys, 1.0, 3) == [0, 1, 0]
    assert keys.backoff_seconds(1.0) == 0.0


def test_a_busy_key_is_waited_for_rather_than_a_refused_one_used() -> None:
    keys = KeyRotation(2)
    keys.record_answer(0, 401, None, now=0.0)
    keys.record_answer(1, 429, 5.0, now=0.0)

    assert keys.backoff_seconds(0.0) == 5.0
    assert keys.take(0.0) == 1


def test_other_answers_say_nothing_of_a_key() -> None:
    keys = KeyRotation(2)
    for status in (400, 402, 500, 503):
        keys.record_answer(0, status, 30.0, now=0.0)

    assert takes(keys, 0.0, 3) == [0, 1, 0]
