"""What a client is told of an upstream's answer, whatever stands in that."""

from __future__ import annotations

import json

import pytest

from gateway.upstream.rules.refusals import refusal_of_answer

ERROR = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": None}})


def test_an_error_in_the_usual_envelope_is_passed_on() -> None:
    assert refusal_of_answer(400, ERROR.encode()).body == ERROR.encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 2_000, id="too deep"),
        pytest.param(b'{"error":' * 2_000 + b"1" + b"}" * 2_000, id="too deep an envelope"),
        pytest.param(ERROR.encode("utf-16"), id="UTF-16"),
        pytest.param(ERROR.encode("utf-32"), id="UTF-32"),
        pytest.param(b"\xff" + ERROR.encode(), id="no text"),
    ],
)
def test_another_one_is_put_in_our_own_words_and_is_not_booked_for_it(body: bytes) -> None:
    """Reading a deep one failed, and the call was booked at its ceiling, though a 400 is free."""
    refusal = refusal_of_answer(400, body)

    assert (refusal.code, refusal.status, refusal.body) == ("upstream_refused", 400, None)
