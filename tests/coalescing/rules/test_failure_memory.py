"""Which failures are remembered, for how long, and in which form others are told of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.coalescing.rules.failure_memory import (
    MOST_REMEMBERED,
    FailureMemory,
    MemoryTimes,
    Remembered,
    failure_of,
    refusal_of,
)
from gateway.coalescing.rules.lease import FlightFailure
from gateway.model.errors import Refusal
from gateway.upstream.rules.refusals import refusal_of_answer, refusal_of_break, refusal_of_unsent

NOW = 1_800_000_000_000
TIMES = MemoryTimes(failure_seconds=120, refusal_seconds=60)


def no(status: int, **error: object) -> Refusal:
    said = {"message": "no", "type": "invalid_request_error", "param": None, "code": None} | error
    return refusal_of_answer(status, json.dumps({"error": said}).encode())


@pytest.mark.parametrize(
    ("refusal", "cost_nanos", "seconds"),
    [
        (refusal_of_break("timeout"), None, 120),
        (refusal_of_break("failed"), None, 120),
        (refusal_of_break("garbage"), 10_000_000, 120),
        (refusal_of_answer(500, b""), None, 120),
        (refusal_of_answer(500, b""), 0, 0),
        (refusal_of_unsent(), None, 0),
        (refusal_of_answer(429, b""), 0, 0),
        (refusal_of_answer(503, b""), 0, 0),
        (refusal_of_answer(401, b""), 0, 0),
        (no(400, code="content_policy_violation"), 0, 60),
        (no(400, code="content_policy_violation"), None, 120),
        (no(422), 0, 60),
        (no(400, code="billing_hard_limit_reached"), 0, 0),
        (no(400, type="insufficient_quota"), 0, 0),
        (no(404), 0, 0),
        (no(408), 0, 0),
        (no(409), 0, 0),
        (no(413), 0, 0),
        (refusal_of_answer(400, b"plain text"), 0, 0),
    ],
)
def test_how_long_a_failure_is_remembered(
    refusal: Refusal, cost_nanos: int | None, seconds: float
) -> None:
    assert TIMES.seconds_for(refusal, cost_nanos) == seconds


def test_where_nothing_is_stored_a_refusal_is_not_either_but_a_charge_is_not_risked() -> None:
    assert TIMES.seconds_for(no(400), 0, keeps_refusals=False) == 0
    assert TIMES.seconds_for(refusal_of_break("failed"), None, keeps_refusals=False) == 120


@pytest.mark.parametrize("refusal", [no(400), refusal_of_break("timeout"), refusal_of_unsent()])
def test_what_others_are_told_makes_the_same_refusal(refusal: Refusal) -> None:
    told = refusal_of(failure_of(refusal))

    for name in ("code", "status", "message", "body", "source"):
        assert getattr(told, name) == getattr(refusal, name)


def test_what_others_are_told_is_bounded_and_text() -> None:
    huge = replace(no(400), message="x" * 5_000, body=b"{" + b" " * 20_000 + b"}")
    told = failure_of(huge)

    assert (len(told.message), told.body) == (1_000, "")
    assert failure_of(replace(huge, body='{"error": {}}'.encode("utf-16"))).body == ""


def test_others_are_told_what_was_sent_beside() -> None:
    assert failure_of(no(400), "ann").extra_digest == "ann"


def test_a_code_of_a_newer_gateway_is_still_a_failure() -> None:
    assert refusal_of(FlightFailure("upstream_abducted", 502, "m")).code == "upstream_failed"


def test_a_memory_ends_when_its_time_has_come() -> None:
    memory = FailureMemory()
    memory.keep("k", Remembered(no(400), NOW, NOW + 1_000))

    assert memory.recall("k", NOW + 999) is not None
    assert memory.recall("k", NOW + 1_000) is None
    assert memory.recall("k", NOW) is None


def test_a_refusal_is_remembered_for_who_sends_the_same_beside_and_a_charge_for_all() -> None:
    memory = FailureMemory()
    memory.keep("refused", Remembered(no(400), NOW, NOW + 1_000), "ann")
    memory.keep("broke", Remembered(refusal_of_break("failed"), NOW, NOW + 1_000), "ann")

    assert memory.recall("refused", NOW, "ann") is not None
    assert memory.recall("refused", NOW, "bob") is None
    assert memory.recall("refused", NOW) is None
    assert memory.recall("broke", NOW, "bob") is not None
    memory.forget("broke", "bob")
    assert memory.recall("broke", NOW, "ann") is None


def test_the_memory_is_bounded_in_bytes_too() -> None:
    memory = FailureMemory(most_bytes=100_000)
    for number in range(50):
        refusal = replace(no(400), body=b"x" * 16_000)
        memory.keep(f"k{number}", Remembered(refusal, NOW, NOW + 1_000))

    assert 50_000 < memory.kept_bytes <= 100_000
    assert memory.recall("k0", NOW) is None
    assert memory.recall("k49", NOW) is not None
    for number in range(50):
        memory.forget(f"k{number}")
    assert memory.kept_bytes == 0


def test_a_large_error_is_remembered_without_its_body() -> None:
    memory = FailureMemory()
    memory.keep("k", Remembered(replace(no(400), body=b"x" * 16_385), NOW, NOW + 1_000))
    found = memory.recall("k", NOW)

    assert found is not None
    assert (found.refusal.code, found.refusal.status, found.refusal.body) == (
        "upstream_refused", 400, None,
    )  # fmt: skip


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = FailureMemory()
    for number in range(MOST_REMEMBERED + 1):
        memory.keep(f"k{number}", Remembered(no(400), NOW, NOW + 1_000))

    assert memory.recall("k0", NOW) is None
    assert memory.recall(f"k{MOST_REMEMBERED}", NOW) is not None
