"""How long an owner's heartbeat has not changed."""

from __future__ import annotations

from gateway.coalescing.rules.heartbeats import HeartbeatTracker


def test_a_heartbeat_that_does_not_change_is_silent_for_the_time_it_was_watched() -> None:
    heartbeats = HeartbeatTracker()

    seen = [heartbeats.silent_seconds("p1", 7, second / 4) for second in range(9)]

    assert seen == [0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]


def test_a_heartbeat_ends_the_silence() -> None:
    heartbeats = HeartbeatTracker()
    for second in range(5):
        heartbeats.silent_seconds("p1", 7, second)

    assert heartbeats.silent_seconds("p1", 8, 5) == 0


def test_time_without_a_look_does_not_count_as_silence() -> None:
    heartbeats = HeartbeatTracker()
    heartbeats.silent_seconds("p1", 7, 0)

    assert heartbeats.silent_seconds("p1", 7, 3_600) == 1


def test_an_owner_without_any_heartbeat_falls_silent_too() -> None:
    heartbeats = HeartbeatTracker()
    for second in range(11):
        silent = heartbeats.silent_seconds("p1", None, second)

    assert silent == 10
