"""The envelope of an answer."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.answer import read_answer, upstream_error
from gateway.wire.events import Event, plain_body

PATH = "usage.cost.total_cost"
PICTURE = base64.b64encode(os.urandom(3_000)).decode()
SEED = {
    "created": 1782595538,
    "model": "deepshi-image-1",
    "size": "1024x1024",
    "data": [{"b64_json": PICTURE, "index": 0}],
    "usage": {"cost": {"total_cost": 0.01}},
}


def seed(**changes: Any) -> bytes:
    return json.dumps({**SEED, **changes}, indent=2).encode()


def costing(cost: str) -> bytes:
    """The seed's answer with a cost written in this way."""
    return seed(usage={"cost": {"total_cost": "COST"}}).replace(b'"COST"', cost.encode())


@pytest.mark.parametrize(
    "usage",
    [
        '"usage": {"cost": {"total_cost": 0.01, "total_cost": 0.02}}',
        '"usage": {"cost": {"total_cost": 0.01}, "cost": {"total_cost": 0.01}}',
        '"usage": {"cost": 0.01}, "usage": {"cost": {"total_cost": 0.01}}',
        '"usage": {"cost": {"total_cost": 5}}, "\\u0075sage": {"cost": {"total_cost": 0.01}}',
    ],
)
def test_a_cost_that_is_stated_twice_is_unknown(usage: str) -> None:
    text = seed().replace(
        b'"usage": {\n    "cost": {\n      "total_cost": 0.01\n    }\n  }', usage.encode()
    )
    assert usage.encode() in text
    answered = read_answer(text, PATH)
    assert (answered.valid, answered.cost_nanos) == (True, None)
    completed = b'{"type": "image_edit.completed", "b64_json": "x", %b}' % usage.encode()
    plain = plain_body(Event("", completed), "m")
    assert read_answer(plain, PATH).cost_nanos is None


def test_an_answer_of_too_many_values_is_not_parsed() -> None:
    for text in (b"1,", b'"",', b"[", b"{}, "):
        body = b'{"data": [' + text * 5_000_000
        started = time.thread_time()
        assert not read_answer(body, PATH).valid
        assert time.thread_time() - started < 0.05


def test_the_documented_answer_is_understood() -> None:
    answered = read_answer(seed(), PATH)
    assert answered.valid
    assert answered.pictures == 1
    assert not answered.has_urls
    assert answered.cost_nanos == 10_000_000


@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("0.01", 10_000_000),
        ('"0.01"', 10_000_000),
        ("1e-2", 10_000_000),
        ("0", 0),
        ("2", 2_000_000_000),
        ("0.0000000001", 1),
        ("0.1000000000000000055511151231257827", 100_000_001),
    ],
)
def test_a_cost_is_exact_however_it_is_written(written: str, nanos: int) -> None:
    assert read_answer(costing(written), PATH).cost_nanos == nanos


@pytest.mark.parametrize(
    "written", ["true", "null", "NaN", "Infinity", "-0.01", '""', '"free"', "[1]", "1e999999999"]
)
def test_an_odd_cost_is_unknown_and_the_picture_is_still_delivered(written: str) -> None:
    answered = read_answer(costing(written), PATH)
    assert answered.cost_nanos is None
    assert answered.valid


@pytest.mark.parametrize("path", ["usage.cost", "usage.cost.total_cost"])
@pytest.mark.parametrize("cost", [0.01, {"total_cost": 0.01}])
def test_a_scalar_and_an_object_are_both_met(path: str, cost: object) -> None:
    assert read_answer(seed(usage={"cost": cost}), path).cost_nanos == 10_000_000


def test_another_path_is_followed() -> None:
    assert read_answer(seed(bill={"usd": "0.5"}), "bill.usd").cost_nanos == 500_000_000


@pytest.mark.parametrize("usage", [None, {}, {"cost": None}, {"cost": {}}, [], "none"])
def test_an_answer_without_a_cost_stays_as_it_is(usage: object) -> None:
    body = seed(usage=usage)
    answered = read_answer(body, PATH)
    assert answered.cost_nanos is None
    assert answered.for_sharing(5) == body


@pytest.mark.parametrize(
    ("data", "pictures", "urls"),
    [
        ([{"b64_json": PICTURE}, {"b64_json": "short"}], 2, False),
        ([{"url": "https://example.test/x.png"}], 1, True),
        ([{"b64_json": PICTURE, "url": None}], 1, False),
        ([{"b64_json": PICTURE}, {"url": "https://example.test/" + "x" * 2_000}], 2, True),
    ],
)
def test_pictures_and_addresses_are_counted(data: list[Any], pictures: int, urls: bool) -> None:
    answered = read_answer(seed(data=data), PATH)
    assert (answered.valid, answered.pictures, answered.has_urls) == (True, pictures, urls)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b"null",
        seed(data=[]),
        seed(data=None),
        seed(data=[{"b64_json": ""}, {"b64_json": 7}, "x"]),
        seed()[:-3],
        seed()[:2_000],
        b"\xff\xfe" + seed(),
        b"[" * 100_000,
    ],
)
def test_what_carries_no_picture_is_not_valid(body: bytes) -> None:
    assert not read_answer(body, PATH).valid


def test_a_shared_answer_costs_nothing_and_says_what_was_saved() -> None:
    shared = json.loads(read_answer(seed(), PATH).for_sharing(10_000_000))
    assert shared == {**SEED, "usage": {"cost": {"total_cost": 0, "saved_cost": 0.01}}}


def test_a_scalar_cost_keeps_its_shape() -> None:
    shared = json.loads(read_answer(seed(usage={"cost": 0.01}), PATH).for_sharing(10_000_000))
    assert shared["usage"] == {"cost": 0, "saved_cost": 0.01}


def test_what_was_saved_is_exact_decimal_text() -> None:
    assert b'"saved_cost":0.010000001' in read_answer(seed(), PATH).for_sharing(10_000_001)


def test_a_cost_that_was_unknown_is_shown_as_nothing_too() -> None:
    shared = json.loads(read_answer(costing('"free"'), PATH).for_sharing(None))
    assert shared["usage"] == {"cost": {"total_cost": 0}}


def test_other_numbers_stay_as_they_were_written() -> None:
    body = costing("0.01").replace(b"1782595538", b'1782595538.10, "x": NaN')
    assert b'"created":1782595538.10,"x":NaN' in read_answer(body, PATH).for_sharing(1)


def test_sharing_twice_gives_the_same_and_leaves_the_answer_alone() -> None:
    answered = read_answer(seed(), PATH)
    assert answered.for_sharing(7) == answered.for_sharing(7)
    assert answered.cost_nanos == 10_000_000


@given(st.text(max_size=2_500), st.text(max_size=2_500), st.booleans())
def test_pictures_and_texts_are_the_same_to_the_byte(
    picture: str, prompt: str, escaped: bool
) -> None:
    tree = {"data": [{"b64_json": picture, "revised_prompt": prompt}], "usage": {"cost": 1}}
    body = json.dumps(tree, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    shared = read_answer(body, PATH).for_sharing(0)
    if shared != body:
        assert json.loads(shared)["data"] == tree["data"]
    else:
        assert not escaped


def test_escaped_slashes_in_a_picture_are_left_alone() -> None:
    picture = PICTURE.replace("/", "\\/")
    body = seed().replace(PICTURE.encode(), picture.encode())
    assert picture.encode() in read_answer(body, PATH).for_sharing(1)


def test_a_long_name_is_odd_but_understood() -> None:
    body = seed(**{"x" * 3_000: 1})
    answered = read_answer(body, PATH)
    assert answered.valid
    assert json.loads(answered.for_sharing(0))["data"] == SEED["data"]


def test_16_mb_are_read_without_holding_the_loop() -> None:
    body = seed(data=[{"b64_json": base64.b64encode(bytes(12_000_000)).decode()}])
    fastest = min(timed(body) for _ in range(5))
    assert fastest < 0.003


def timed(body: bytes) -> float:
    started = time.perf_counter()
    read_answer(body, PATH)
    return time.perf_counter() - started


def test_an_upstreams_error_is_read() -> None:
    error = {"message": "no", "code": 17, "type": "t", "param": None}
    assert upstream_error(json.dumps({"error": error}).encode()) == ("no", "17", "t", None)
    assert upstream_error(b'{"error": "plain"}') == ("plain", None, None, None)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"error": {}}', b'{"error": 5}', b'{"error": {"message": 5}}']
)
def test_what_is_no_error_envelope_is_none(body: bytes) -> None:
    assert upstream_error(body) is None
