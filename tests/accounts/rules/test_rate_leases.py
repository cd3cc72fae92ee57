"""Rates: a process's leases of a minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.rules.rate_leases import RateLeases, lease_size, minute_ends_ms, minute_of

MINUTE = 29_000_000


def test_below_sixty_a_minute_one_is_leased_at_a_time() -> None:
    assert [lease_size(limit) for limit in (0, 1, 59, 60, 119)] == [1, 1, 1, 1, 1]


def test_above_it_a_seconds_worth_is() -> None:
    assert lease_size(6_000) == 100


def test_nothing_is_taken_that_was_not_leased() -> None:
    leases = RateLeases()
    assert not leases.take(["key:a"], MINUTE)
    leases.add("key:a", MINUTE, granted=2, leased=2, limit=120)
    assert [leases.take(["key:a"], MINUTE) for _ in range(3)] == [True, True, False]


def test_one_account_without_any_left_costs_the_others_nothing() -> None:
    leases = RateLeases()
    leases.add("team:t", MINUTE, granted=1, leased=1, limit=60)
    assert not leases.take(["team:t", "key:a"], MINUTE)
    assert leases.take(["team:t"], MINUTE)


def test_a_lease_ends_with_its_minute() -> None:
    leases = RateLeases()
    leases.add("key:a", MINUTE, granted=2, leased=2, limit=120)
    assert not leases.take(["key:a"], MINUTE + 1)


def test_an_answer_that_comes_late_is_not_used_in_the_next_minute() -> None:
    leases = RateLeases()
    leases.add("key:a", MINUTE + 1, granted=1, leased=1, limit=60)
    leases.add("key:a", MINUTE, granted=5, leased=5, limit=60)
    taken = [leases.take(["key:a"], MINUTE + 1) for _ in range(2)]
    assert taken == [True, False]


def test_a_minute_that_is_used_up_is_not_asked_for_again_until_the_limit_is_raised() -> None:
    leases = RateLeases()
    leases.add("key:a", MINUTE, granted=0, leased=30, limit=30)
    assert leases.to_lease("key:a", 30, MINUTE) == 0
    assert leases.used_up({"key:a": 30}, MINUTE) == "key:a"
    assert leases.to_lease("key:a", 40, MINUTE) == 1
    assert leases.used_up({"key:a": 40}, MINUTE) is None
    assert leases.to_lease("key:a", 30, MINUTE + 1) == 1


def test_what_remains_is_what_is_held_and_what_nobody_has_leased() -> None:
    leases = RateLeases()
    leases.add("key:a", MINUTE, granted=10, leased=250, limit=600)
    leases.take(["key:a"], MINUTE)
    assert leases.remaining("key:a", 600, MINUTE) == 359


def test_old_minutes_are_forgotten_and_this_one_is_not() -> None:
    leases = RateLeases()
    for minute in (MINUTE - 1, MINUTE):
        leases.add("key:a", minute, granted=1, leased=1, limit=60)
    leases.sweep(MINUTE)
    assert not leases.take(["key:a"], MINUTE - 1)
    assert leases.take(["key:a"], MINUTE)


@given(st.integers(0, 10**15))
def test_an_instant_lies_in_its_minute(now_ms: int) -> None:
    minute = minute_of(now_ms)
    assert minute_ends_ms(minute - 1) <= now_ms < minute_ends_ms(minute)
