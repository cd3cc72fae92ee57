"""When a process counts as stopped: by the clock of who looks, however the clocks differ."""

from __future__ import annotations

from gateway.coalescing.rules.heartbeats import HeartbeatTracker


def test_a_heartbeat_that_does_not_change_is_a_process_that_has_stopped() -> None:
    heartbeats = HeartbeatTracker(silent_seconds=2)
    stopped = [heartbeats.has_stopped("p1", 7, second / 4) for second in range(9)]

    assert stopped == [False] * 8 + [True]


def test_any_change_is_a_sign_of_life() -> None:
    heartbeats = HeartbeatTracker(silent_seconds=4)
    assert [heartbeats.has_stopped("p1", 7, second) for second in range(5)] == [False] * 4 + [True]

    assert not heartbeats.has_stopped("p1", 8, 5)
    assert not heartbeats.has_stopped("p1", 6, 6)  # its clock was set back


def test_time_in_which_nobody_looked_counts_for_little() -> None:
    heartbeats = HeartbeatTracker(silent_seconds=2)
    heartbeats.has_stopped("p1", 7, 0)

    assert not heartbeats.has_stopped("p1", 7, 3_600)
    assert heartbeats.has_stopped("p1", 7, 3_601)


def test_a_process_that_never_beat_has_stopped_in_time() -> None:
    heartbeats = HeartbeatTracker(silent_seconds=3)
    stopped = [heartbeats.has_stopped("p1", None, second) for second in range(4)]

    assert stopped == [False, False, False, True]
