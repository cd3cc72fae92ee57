"""Which marks of a budget are newly passed, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.alerts.rules.thresholds import (
    MOST_ATTEMPTS,
    PassedThreshold,
    newly_passed,
    next_wait_ms,
    sentence,
)

USUAL = (50, 80, 100)
CENT = 10_000_000
PASSED = PassedThreshold(
    account="team:design",
    level="team",
    name="design",
    team="design",
    percent=80,
    limit_nanos=500 * CENT,
    spent_nanos=401 * CENT,
    held_nanos=0,
    period="month",
    first_day="2026-11-01",
    resets_ms=0,
)


@pytest.mark.parametrize(
    ("spent", "passed"),
    [
        (0, ()),
        (49, ()),
        (50, (50,)),
        (79, (50,)),
        (80, (50, 80)),
        (99, (50, 80)),
        (100, (50, 80, 100)),
        (170, (50, 80, 100)),
    ],
)
def test_a_mark_is_passed_once_spending_has_reached_it(spent: int, passed: tuple[int]) -> None:
    assert newly_passed(spent_nanos=spent, limit_nanos=100, percents=USUAL) == passed


def test_a_mark_is_reached_to_the_nano_and_not_a_nano_before() -> None:
    limit = 3_333_333_333
    half = -(-limit * 50 // 100)

    def passed(spent: int) -> tuple[int, ...]:
        return newly_passed(spent_nanos=spent, limit_nanos=limit, percents=(50,))

    assert passed(half - 1) == ()
    assert passed(half) == (50,)


def test_what_was_told_is_not_told_again() -> None:
    found = newly_passed(spent_nanos=85, limit_nanos=100, percents=USUAL, notified=(50,))
    assert found == (80,)


def test_marks_come_lowest_first_whatever_order_they_are_set_in() -> None:
    assert newly_passed(spent_nanos=9, limit_nanos=10, percents=(90, 10, 50)) == (10, 50, 90)


def test_without_marks_nothing_is_passed() -> None:
    assert newly_passed(spent_nanos=9, limit_nanos=1, percents=(), refused=True) == ()


def test_a_budget_of_nothing_is_passed_only_when_something_was_asked_of_it() -> None:
    assert newly_passed(spent_nanos=0, limit_nanos=0, percents=USUAL) == ()
    assert newly_passed(spent_nanos=1, limit_nanos=0, percents=USUAL) == USUAL


def test_a_budget_that_had_to_refuse_an_edit_is_as_good_as_used_up() -> None:
    found = newly_passed(
        spent_nanos=96, limit_nanos=100, percents=USUAL, notified=(50, 80), refused=True
    )
    assert found == (100,)


@given(
    spending=st.lists(st.integers(0, 10**15), max_size=20),
    limit=st.integers(1, 10**15),
    percents=st.sets(st.integers(1, 100), max_size=10),
)
def test_a_spending_that_only_grows_passes_each_mark_at_most_once(
    spending: list[int], limit: int, percents: set[int]
) -> None:
    told: list[int] = []
    spent = 0
    for more in spending:
        spent += more
        told += newly_passed(spent_nanos=spent, limit_nanos=limit, percents=percents, notified=told)
    assert len(told) == len(set(told))
    assert set(told) == {percent for percent in percents if spent * 100 >= percent * limit > 0}


def test_the_sentence_says_who_spent_how_much_of_what_and_until_when() -> None:
    assert sentence(PASSED, "2026-12-01T00:00:00Z") == (
        "The team design has spent $4.01 of $5.00 this month (80 %): the 80 % mark is passed. "
        "The budget resets at 2026-12-01T00:00:00Z."
    )


def test_the_sentence_at_the_end_says_that_edits_are_refused() -> None:
    full = replace(PASSED, percent=100, spent_nanos=500 * CENT, period="total")
    assert sentence(full, None) == (
        "The team design has spent $5.00 of $5.00 (100 %): the 100 % mark is passed. "
        "New edits are refused; stored pictures are still served."
    )


def test_the_sentence_of_a_refused_edit_does_not_claim_that_all_is_spent() -> None:
    text = sentence(replace(PASSED, percent=100, spent_nanos=496 * CENT, refused=True), None)
    assert "(99 %)" in text
    assert "What is left did not cover an edit, which was refused." in text


def test_a_name_can_call_nobody_in_a_chat() -> None:
    key = replace(PASSED, level="key", name="<!channel> @all [x](http://evil)")
    text = sentence(key, None)
    assert not set("<>!@[]:/") & set(text.partition(" has spent")[0])
    assert text.startswith("The key ··channel· ·all ·x·(http···evil) of the team design has")


def test_each_wait_is_longer_until_an_hour_and_the_last_failure_is_the_end() -> None:
    waits = [next_wait_ms(attempt, 1000) for attempt in range(1, MOST_ATTEMPTS + 1)]
    assert waits[:4] == [1000, 4000, 16_000, 64_000]
    assert waits[-2:] == [3_600_000, None]
