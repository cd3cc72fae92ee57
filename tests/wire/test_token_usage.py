"""The tokens of an answer: read as they are counted, or unknown, and 0 for whoever does not pay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model.token_usage import TokenUsage
from gateway.wire.answer import read_answer
from gateway.wire.events import Event, plain_body

PATH = "usage.cost.total_cost"
COUNTS = {
    "input_tokens": 1523,
    "input_tokens_details": {"image_tokens": 1500, "text_tokens": 23},
    "output_tokens": 4160,
    "total_tokens": 5683,
}


def answer(usage: Any) -> bytes:
    picture = {"b64_json": "aGVsbG8="}
    return json.dumps({"created": 1, "data": [picture], "usage": usage}).encode()


def read(**changes: Any) -> TokenUsage | None:
    return read_answer(answer({**COUNTS, **changes}), PATH).usage


def test_output_without_details_is_that_of_pictures() -> None:
    assert read() == TokenUsage(text_in=23, image_in=1500, image_out=4160)


def test_output_is_told_apart_where_it_has_details() -> None:
    details = {"text_tokens": 160, "image_tokens": 4000}
    assert read(output_tokens_details=details) == TokenUsage(23, 1500, 0, 0, 160, 4000)
    assert read(output_tokens_details={"image_tokens": 4000}) == TokenUsage(
        23, 1500, 0, 0, 160, 4000
    )
    assert read(output_tokens_details=None) == read(output_tokens_details={}) == read()


@pytest.mark.parametrize(
    ("cached", "text", "image"),
    [
        ({"cached_tokens": 10}, 10, 0),
        ({"cached_tokens": 123}, 23, 100),
        (
            {"cached_tokens": 10, "cached_tokens_details": {"text_tokens": 3, "image_tokens": 7}},
            *(3, 7),
        ),
    ],
)
def test_cached_tokens_are_part_of_the_input(cached: dict[str, Any], text: int, image: int) -> None:
    details = {**COUNTS["input_tokens_details"], **cached}  # type: ignore[dict-item]
    assert read(input_tokens_details=details) == TokenUsage(23, 1500, text, image, 0, 4160)


@pytest.mark.parametrize(
    "changes",
    [
        {"input_tokens_details": None},
        {"input_tokens_details": 7},
        {"input_tokens_details": {"image_tokens": 1524}},
        {"input_tokens_details": {"text_tokens": 1000, "image_tokens": 1000}},
        {"input_tokens_details": {"text_tokens": 23, "image_tokens": 1500, "cached_tokens": 1524}},
        {"output_tokens": 0},
        {"output_tokens": -1},
        {"output_tokens": "4160"},
        {"output_tokens": 4160.5},
        {"output_tokens": True},
        {"output_tokens": None},
        {"output_tokens": 10**9},
        {"output_tokens": 10**5000},
        {"output_tokens_details": {"image_tokens": 4161}},
    ],
)
def test_counts_that_cannot_be_are_unknown_and_not_0(changes: dict[str, Any]) -> None:
    body = answer({**COUNTS, **{n: v for n, v in changes.items() if v != 10**5000}})
    if 10**5000 in changes.values():
        body = body.replace(b'"output_tokens": 4160', b'"output_tokens": 1' + b"0" * 5000)
    assert read_answer(body, PATH).usage is None


def test_an_answer_without_counts_has_none() -> None:
    assert read_answer(answer({"cost": {"total_cost": 0.01}}), PATH).usage is None
    assert read_answer(answer(None), PATH).usage is None
    assert read_answer(b"{}", PATH).usage is None


def test_a_stream_has_the_tokens_of_its_completed_event() -> None:
    event = {"type": "image_edit.completed", "b64_json": "aGVsbG8=", "usage": COUNTS}
    plain = plain_body(Event("", json.dumps(event).encode()), "m")
    assert read_answer(plain, PATH).usage == read()


def test_who_does_not_pay_sees_counts_of_0_and_what_they_were() -> None:
    shared = json.loads(read_answer(answer(COUNTS), PATH).for_sharing(181_515_000))
    assert shared["usage"] == {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "total_tokens": 0,
    }
    assert shared["saved_usage"] == COUNTS
    assert shared["data"] == [{"b64_json": "aGVsbG8="}]


def test_a_stated_cost_is_0_beside_them() -> None:
    both = answer({**COUNTS, "cost": {"total_cost": 0.2}})
    shared = json.loads(read_answer(both, PATH).for_sharing(200_000_000))
    assert shared["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.2}
    assert (shared["usage"]["output_tokens"], shared["saved_usage"]) == (0, COUNTS)


def test_counts_of_an_odd_form_are_0_too() -> None:
    odd = answer({"input_tokens": 5, "output_tokens": 7})
    assert read_answer(odd, PATH).usage is None
    shared = json.loads(read_answer(odd, PATH).for_sharing(None))
    assert shared["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert shared["saved_usage"] == {"input_tokens": 5, "output_tokens": 7}
