"""What an answer means: charged, retried, counted by the circuit."""

from __future__ import annotations

from typing import Any

from gateway.upstream.rules.call_verdict import (
    CallVerdict,
    is_uncharged,
    verdict_of_answer,
    verdict_of_broken,
)


def verdict(
    status: int,
    *,
    uncharged: tuple[str, ...] = ("4xx", "503"),
    has_good_key: bool = True,
    **more: Any,
) -> CallVerdict:
    seconds: dict[str, Any] = {"retry_after_seconds": None, "backoff_seconds": 0.0, **more}
    return verdict_of_answer(status, uncharged=uncharged, has_good_key=has_good_key, **seconds)


def test_an_answer_is_retried_only_where_it_was_not_charged() -> None:
    assert [verdict(status).reason for status in (400, 402, 429, 503, 500)] == [
        None, None, "busy", "unavailable", None,
    ]  # fmt: skip
    charged = verdict(503, uncharged=("4xx",))
    assert (charged.charged, charged.reason) == (True, None)


def test_a_refused_key_is_retried_while_another_is_good() -> None:
    assert verdict(401).reason == verdict(403).reason == "key"
    assert verdict(401, has_good_key=False).reason is None


def test_a_busy_answer_waits_for_the_keys_and_an_unavailable_one_for_itself() -> None:
    asked: dict[str, Any] = {"retry_after_seconds": 7.0, "backoff_seconds": 3.0}
    assert verdict(429, **asked).asked_seconds == 3.0
    assert verdict(503, **asked).asked_seconds == 7.0


def test_the_circuit_counts_what_concerns_every_call() -> None:
    counted = [verdict(status).opens_circuit for status in (400, 402, 403, 429, 500, 503)]
    assert counted == [False, True, False, False, True, True]
    assert not verdict(401).opens_circuit
    assert verdict(401, has_good_key=False).opens_circuit
    assert not verdict(403, has_good_key=False).opens_circuit
    assert verdict_of_broken("timeout").opens_circuit
    assert not verdict_of_broken("too_large").opens_circuit


def test_uncharged_is_a_status_or_a_class_of_them() -> None:
    rules = ("4xx", "503")
    assert [is_uncharged(status, rules) for status in (400, 429, 500, 503)] == [
        True, True, False, True,
    ]  # fmt: skip
