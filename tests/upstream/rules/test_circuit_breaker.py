"""The circuit: opens on failures in a row, lets one at a time find out, closes on success."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rules.circuit_breaker import CircuitBreaker

WHY = "upstream_unreachable"


def opened(at: float = 0.0) -> CircuitBreaker:
    circuit = CircuitBreaker(failures=3, open_seconds=30.0)
    for _ in range(3):
        fail(circuit, at)
    assert circuit.is_open
    return circuit


def fail(circuit: CircuitBreaker, now: float) -> bool:
    ticket = circuit.enter(now)
    assert ticket is not None
    return circuit.failed(ticket, now, WHY)


def succeed(circuit: CircuitBreaker, now: float) -> bool:
    ticket = circuit.enter(now)
    assert ticket is not None
    return circuit.succeeded(ticket)


def test_it_opens_with_the_last_of_so_many_failures_in_a_row() -> None:
    circuit = CircuitBreaker(failures=3, open_seconds=30.0)

    assert [fail(circuit, 0.0) for _ in range(3)] == [False, False, True]
    assert circuit.is_open
    assert circuit.why == WHY
    assert circuit.enter(29.9) is None
    assert circuit.wait_seconds(10.0) == 20.0


def test_one_success_between_them_begins_the_count_anew() -> None:
    circuit = CircuitBreaker(failures=2, open_seconds=30.0)
    for _ in range(5):
        fail(circuit, 0.0)
        succeed(circuit, 0.0)

    assert not circuit.is_open


def test_after_its_time_one_call_may_find_out_and_the_others_wait() -> None:
    circuit = opened()

    assert circuit.enter(30.0) is not None
    assert [circuit.enter(now) for now in (30.0, 31.0, 59.9)] == [None] * 3


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = opened()

    assert succeed(circuit, 30.0)
    assert not circuit.is_open
    assert circuit.enter(30.0) is not None
    assert not fail(circuit, 30.0)


def test_a_probe_that_fails_leaves_it_open_for_as_long_again() -> None:
    circuit = opened()

    assert not fail(circuit, 40.0)
    assert circuit.enter(69.9) is None
    assert circuit.enter(70.0) is not None


def test_a_probe_that_takes_long_does_not_keep_the_next_from_finding_out() -> None:
    circuit = opened()
    slow, fast = circuit.enter(30.0), circuit.enter(60.0)

    assert slow is not None
    assert fast is not None
    assert circuit.succeeded(slow)


def test_a_probe_that_is_not_made_leaves_its_place_to_another() -> None:
    circuit = opened()
    ticket = circuit.enter(30.0)
    assert ticket is not None
    circuit.leave(ticket, 31.0)

    assert circuit.enter(31.0) is not None
    assert circuit.enter(31.0) is None


def test_what_was_sent_before_it_opened_neither_closes_it_nor_keeps_it_open() -> None:
    circuit = CircuitBreaker(failures=1, open_seconds=30.0)
    before = [circuit.enter(0.0) for _ in range(3)]
    fail(circuit, 0.0)
    for ticket in before:
        assert ticket is not None
        assert not circuit.failed(ticket, 20.0, WHY)
        assert not circuit.succeeded(ticket)
        circuit.leave(ticket, 20.0)

    assert circuit.enter(29.0) is None
    assert circuit.enter(30.0) is not None


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(["ask", "good", "bad"])), max_size=80
    )
)
def test_whatever_happens_an_open_circuit_lets_no_two_go_within_its_time(
    steps: list[tuple[int, str]],
) -> None:
    circuit, now = CircuitBreaker(failures=2, open_seconds=30.0), 0.0
    out: list[int] = []
    last_probe: float | None = None
    for pause, step in steps:
        now += pause
        if step == "ask":
            was_open = circuit.is_open
            ticket = circuit.enter(now)
            if was_open and ticket is not None:
                assert last_probe is None or now - last_probe >= 30.0
                last_probe = now
            out += [] if ticket is None else [ticket]
        elif out:
            ticket = out.pop()
            opened = step == "bad" and circuit.failed(ticket, now, WHY)
            closed = step == "good" and circuit.succeeded(ticket)
            if opened or closed:
                last_probe = None
            assert circuit.is_open or not opened
    assert circuit.wait_seconds(now) <= 30.0


def test_with_no_failures_to_open_it_never_does() -> None:
    circuit = CircuitBreaker(failures=0, open_seconds=30.0)
    for _ in range(100):
        fail(circuit, 0.0)

    assert not circuit.is_open
