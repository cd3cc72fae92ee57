"""The fair queue: seats in turn by team, bounded, and full only against who fills it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rules.fair_queue import Entered, FairQueue, Place


def queue(slots: int = 1, most_waiting: int = 10, *, lines: str = "") -> FairQueue[str]:
    """All seats taken, and a line of each letter of `lines`: the team, then its number."""
    made = FairQueue[str](slots, most_waiting)
    for number in range(slots):
        assert made.enter("busy", f"busy{number}").place is Place.SLOT
    for number, team in enumerate(lines):
        assert made.enter(team, f"{team}{number}").place is Place.QUEUED
    return made


def order(made: FairQueue[str]) -> list[str]:
    """Who gets a seat, one after another."""
    found = []
    while item := made.release_slot():
        found.append(item)
    return found


def test_seats_are_taken_until_there_are_none() -> None:
    made = FairQueue[str](2, 10)

    assert [made.enter("a", str(n)).place for n in range(3)] == [
        Place.SLOT,
        Place.SLOT,
        Place.QUEUED,
    ]
    assert (made.taken, made.waiting) == (2, 1)


def test_teams_take_turns_however_long_their_queues() -> None:
    assert order(queue(lines="aaaabbc")) == ["a0", "b4", "c6", "a1", "b5", "a2", "a3"]


def test_a_newcomer_is_next_after_the_teams_that_wait() -> None:
    made = queue(lines="aaaa")
    assert made.release_slot() == "a0"
    made.enter("b", "b0")

    assert order(made) == ["a1", "b0", "a2", "a3"]


def test_a_full_queue_takes_no_more_of_who_fills_it() -> None:
    made = queue(most_waiting=3, lines="aaa")

    assert made.enter("a", "a3") == Entered(Place.REFUSED)
    assert made.waiting == 3


def test_a_full_queue_makes_room_for_another_team_at_the_end_of_the_longest_line() -> None:
    made = queue(most_waiting=4, lines="aaab")

    assert made.enter("b", "b4") == Entered(Place.QUEUED, displaced="a2")
    assert made.enter("b", "b5") == Entered(Place.REFUSED)  # theirs would be the longest
    assert made.enter("c", "c5") == Entered(Place.QUEUED, displaced="a1")
    assert order(made) == ["a0", "b3", "c5", "b4"]


def test_with_no_line_there_are_only_slots() -> None:
    assert queue(most_waiting=0).enter("a", "a0") == Entered(Place.REFUSED)


def test_who_leaves_the_line_is_not_called() -> None:
    made = queue(lines="aab")
    made.leave_queue("a", "a0")
    made.leave_queue("b", "b2")
    made.leave_queue("b", "b2")  # gone already

    assert order(made) == ["a1"]
    assert made.waiting == 0


def test_lines_that_are_closed_are_empty_and_seats_are_still_given_up() -> None:
    made = queue(lines="aab")

    assert made.clear() == ["a0", "a1", "b2"]
    assert made.waiting == 0
    assert made.release_slot() is None
    assert made.taken == 0


def test_a_seat_that_nobody_waits_for_is_free() -> None:
    made = queue()
    assert made.release_slot() is None
    assert made.taken == 0

    assert made.enter("a", "a0").place is Place.SLOT


@given(
    slots=st.integers(1, 3),
    most_waiting=st.integers(0, 6),
    steps=st.lists(st.sampled_from(["a", "b", "c", "seat", "line"]), max_size=80),
)
def test_whatever_happens_nobody_is_lost_and_the_bounds_hold(
    slots: int, most_waiting: int, steps: list[str]
) -> None:
    made = FairQueue[tuple[str, int]](slots, most_waiting)
    seated, waiting = 0, set[tuple[str, int]]()
    for number, step in enumerate(steps):
        if step == "seat":
            if seated:
                item = made.release_slot()
                waiting.discard(item) if item else None
                seated -= item is None
        elif step == "line":
            if waiting:
                item = min(waiting)
                made.leave_queue(item[0], item)
                waiting.discard(item)
        else:
            entered = made.enter(step, (step, number))
            seated += entered.place is Place.SLOT
            if entered.place is Place.QUEUED:
                waiting.add((step, number))
            if entered.displaced:
                waiting.remove(entered.displaced)
        assert (made.taken, made.waiting) == (seated, len(waiting))
        assert made.taken <= slots
        assert made.waiting <= most_waiting
        assert not made.waiting or made.taken == slots


@given(st.integers(1, 30), st.integers(1, 8))
def test_one_team_s_burst_delays_another_by_one_turn(burst: int, others: int) -> None:
    made = queue(most_waiting=100, lines="a" * burst + "b" * others)
    first = order(made)[: 2 * min(burst, others)]

    counts = Counter(item[0] for item in first)
    assert counts["a"] == counts["b"]
