from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model.edit import AdapterFacts
from gateway.upstream.adapters.xai import XAI
from gateway.wire.answer import read_answer

ADAPTER = XAI(AdapterFacts())


def cost_nanos(ticks: str) -> int | None:
    body = f'{{"data": [{{"url": "x"}}], "usage": {{"cost_in_usd_ticks": {ticks}}}}}'.encode()

    def to_openai(answer: dict[str, Any]) -> dict[str, Any]:
        return ADAPTER.to_openai(answer, 7)

    return read_answer(body, "usage.cost.total_cost", to_openai).cost_nanos


@pytest.mark.parametrize(
    ("ticks", "nanos"),
    [
        ("220000000", 22_000_000),
        ("1", 1),  # a tenth of a nano-dollar is rounded up
        ("0", 0),
        ("-5", None),
        ("NaN", None),
        ("true", None),
        ("null", None),
    ],
)
def test_ticks_are_tenths_of_a_nano_dollar(ticks: str, nanos: int | None) -> None:
    assert cost_nanos(ticks) == nanos


def test_refusals_of_two_texts_get_openais_envelope() -> None:
    body = json.dumps({"code": "Some requested entity was not found", "error": "no"}).encode()
    status, made = ADAPTER.error(404, body)
    error = json.loads(made)["error"]
    assert (status, error["message"]) == (404, "no")
    assert error["code"] == "Some requested entity was not found"


def test_a_wrong_key_is_a_401() -> None:
    body = json.dumps({"code": "x", "error": "Incorrect API key provided: na***ys."}).encode()
    assert ADAPTER.error(400, body)[0] == 401
