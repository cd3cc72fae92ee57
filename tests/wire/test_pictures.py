"""Pictures within an answer: read by their place, and replaced by URLs, or URLs by them."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import pytest

from gateway.wire.answer import read_answer
from gateway.wire.pictures import picture_at, with_urls

PNG = b"\x89PNG\r\n\x1a\n"
LARGE, SMALL = PNG + os.urandom(3_000), PNG + b"small"
PATH = "usage.cost.total_cost"


def text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def answer(*items: Any) -> bytes:
    cost = {"usage": {"cost": {"total_cost": 0.010}}}
    return json.dumps({"created": 1, "data": list(items), **cost}).encode()


@pytest.mark.parametrize("picture", [LARGE, SMALL])
def test_a_picture_is_found_by_its_place(picture: bytes) -> None:
    body = answer({"b64_json": text(SMALL)}, {"b64_json": text(picture), "index": 1})
    assert picture_at(body, 1) == picture
    escaped = body.replace(text(picture).encode(), text(picture).replace("/", "\\/").encode())
    assert picture_at(escaped, 1) == picture
    data_url = answer({"b64_json": f"data:image/png;base64,{text(picture)}"})
    assert picture_at(data_url, 0) == picture


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"no json", b'{"data": {}}', answer(), answer("x"), answer({"url": "x"}),
     answer({"b64_json": ""}), answer({"b64_json": 1}), answer({"b64_json": "A"})],
)  # fmt: skip
def test_where_there_is_no_picture_none_is_found(body: bytes) -> None:
    assert picture_at(body, 0) is None
    assert picture_at(answer({"b64_json": text(SMALL)}), 1) is None


def test_urls_take_the_place_of_pictures_alone() -> None:
    body = answer({"b64_json": text(LARGE), "index": 0}, {"note": 1}, {"b64_json": text(SMALL)})
    heads = {}

    def url_of(place: int, head: bytes) -> str:
        heads[place] = head
        return f"https://here/{place}"

    shown = json.loads(with_urls(body, url_of))
    assert shown["data"] == [
        {"url": "https://here/0", "index": 0}, {"note": 1}, {"url": "https://here/2"}
    ]  # fmt: skip
    assert {place: head[:8] for place, head in heads.items()} == {0: PNG, 2: PNG}
    assert b"0.01" in with_urls(body, url_of)


def test_pictures_take_the_place_of_urls() -> None:
    long_url = "https://host/" + "a" * 3_000 + "/\u00e9"
    body = answer(
        {"url": "https://host/1", "revised_prompt": "x"},
        {"b64_json": text(LARGE), "url": "https://host/2"},
        {"b64_json": None, "url": long_url},
    )
    parsed = read_answer(body, PATH)
    assert (parsed.pictures, parsed.has_urls) == (3, True)
    assert parsed.urls == ("https://host/1", long_url)

    held = parsed.with_pictures([SMALL, LARGE])
    assert (held.has_urls, held.urls, held.cost_nanos) == (False, (), 10_000_000)
    assert [head[:8] for head in held.heads] == [PNG] * 3
    assert json.loads(held.body)["data"] == [
        {"revised_prompt": "x", "b64_json": text(SMALL)},
        {"b64_json": text(LARGE)},
        {"b64_json": text(LARGE)},
    ]
    shared = json.loads(held.for_sharing(10_000_000))
    assert shared["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}
    assert [each["b64_json"] for each in shared["data"]] == [text(SMALL), text(LARGE), text(LARGE)]


def test_a_url_that_is_no_text_is_none_and_a_broken_one_empty() -> None:
    assert read_answer(answer({"url": 1}), PATH).urls == ()
    broken = answer({"url": "U"}).replace(b'"U"', b'"\\q' + b"a" * 2_000 + b'"')
    parsed = read_answer(broken, PATH)
    assert (parsed.urls, parsed.cost_nanos) == (("",), 10_000_000)
