"""Good calls over a real socket: what is answered, and what is drawn."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from openai import OpenAI

from gateway.emulator import SAMPLE_PHOTOGRAPH
from tests.emulator.calling import (
    BLUE,
    GREEN,
    RED,
    Caller,
    opened,
    picture_file,
    pictures_in,
    striped_file,
)


def test_an_edit_answers_exactly_the_documented_body(caller: Caller) -> None:
    answer = caller.edit()
    body = answer.json()
    assert list(body) == ["created", "model", "size", "data", "usage"]
    assert body["model"] == "deepshi-image-1"
    assert body["size"] == "24x16"
    assert [list(item) for item in body["data"]] == [["b64_json", "index"]]
    assert '"usage": {"cost": {"total_cost": 0.01}}' in answer.text
    assert answer.headers["content-type"] == "application/json"


def test_every_answer_has_a_request_id_of_its_own(caller: Caller) -> None:
    answers = [caller.edit(), caller.edit(n="9"), caller.http.get("/nowhere")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3
    assert all(re.fullmatch(r"req_emu_[0-9a-f]{32}", id_) for id_ in ids)


def test_the_same_request_gives_the_same_bytes(caller: Caller) -> None:
    photograph = SAMPLE_PHOTOGRAPH.read_bytes()
    first, again, other = (
        pictures_in(caller.edit(prompt, references=[photograph]))
        for prompt in ("remove the person", "remove the person", "remove the tree")
    )
    assert first == again
    assert first != other


def test_an_edit_changes_pixels_as_the_prompt_says(caller: Caller) -> None:
    grey = opened(pictures_in(caller.edit("make it gray"))[0]).convert("RGB")
    red, green, blue = grey.getpixel((3, 3))  # type: ignore[misc]
    assert red == green == blue
    inverted = opened(pictures_in(caller.edit("invert the colours"))[0])
    assert inverted.convert("RGB").getpixel((3, 3)) == (0, 255, 255)


@pytest.mark.parametrize("name", ["image", "image[]", "image[0]"])
def test_references_come_under_each_of_their_names(caller: Caller, name: str) -> None:
    answer = caller.http.post(
        "/v1/images/edits",
        data={"model": "deepshi-image-1", "prompt": "mirror"},
        files=[
            (name, ("a", picture_file(RED), "application/octet-stream")),
            (name, ("b", picture_file(BLUE), "application/octet-stream")),
        ],
    )
    collage = opened(pictures_in(answer)[0]).convert("RGB")
    assert collage.getpixel((2, 8)) == BLUE
    assert collage.getpixel((21, 8)) == RED


def test_the_order_of_references_matters(caller: Caller) -> None:
    red, blue = picture_file(RED), picture_file(BLUE)
    one, other = (
        pictures_in(caller.edit(references=order)) for order in ([red, blue], [blue, red])
    )
    assert one != other


def test_only_what_the_mask_leaves_open_is_edited(caller: Caller) -> None:
    mask = striped_file(left=(0, 0, 0, 0), right=(0, 0, 0, 255))
    edited = opened(
        pictures_in(caller.edit("invert", references=[picture_file(GREEN)], mask=mask))[0]
    )
    assert edited.convert("RGB").getpixel((2, 8)) == (255, 0, 255)
    assert edited.convert("RGB").getpixel((21, 8)) == GREEN


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (24, 16)),
        ({"size": "auto"}, (24, 16)),
        ({"size": "40x30"}, (40, 30)),
        ({"width": "48", "height": "20"}, (48, 20)),
        ({"aspect_ratio": "16:9"}, (1024, 576)),
        ({"resolution": "1K"}, (1024, 1024)),
        ({"image_size": "1K", "aspect_ratio": "1:4"}, (256, 1024)),
    ],
)
def test_every_sizing_field_is_honoured(
    caller: Caller, fields: dict[str, Any], size: tuple[int, int]
) -> None:
    answer = caller.edit(**fields)
    assert opened(pictures_in(answer)[0]).size == size
    assert answer.json()["size"] == f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_output_format_is_honoured(caller: Caller, kind: str) -> None:
    assert opened(pictures_in(caller.edit(output_format=kind))[0]).format == kind.upper()


def test_several_pictures_differ_from_each_other_and_cost_each(caller: Caller) -> None:
    four, again = (caller.edit(model="deepshi-multi-1", n="4") for _ in range(2))
    assert len(set(pictures_in(four))) == 4
    assert pictures_in(four) == pictures_in(again)
    assert [item["index"] for item in four.json()["data"]] == [0, 1, 2, 3]
    assert four.json()["usage"]["cost"]["total_cost"] == 0.12


def test_a_generation_is_drawn_from_the_prompt_alone(caller: Caller) -> None:
    lake, again, forest = (
        pictures_in(caller.generate(prompt)) for prompt in ("a lake", "a lake", "a forest")
    )
    assert lake == again
    assert lake != forest
    assert opened(lake[0]).size == (32, 32)


def test_a_generation_takes_numbers_and_nulls_as_json_has_them(caller: Caller) -> None:
    answer = caller.generate(size=None, width=40, height=20, n=1, stream=False)
    assert opened(pictures_in(answer)[0]).size == (40, 20)


def test_a_url_is_given_where_one_is_asked_for(caller: Caller) -> None:
    plain = pictures_in(caller.edit())[0]
    item = caller.edit(response_format="url").json()["data"][0]
    assert list(item) == ["url", "index"]
    fetched = caller.http.get(item["url"])
    assert fetched.content == plain
    assert fetched.headers["content-type"] == "image/png"


def test_a_url_is_gone_after_a_reset(caller: Caller) -> None:
    url = caller.edit(response_format="url").json()["data"][0]["url"]
    caller.http.post("/emulator/reset")
    assert caller.http.get(url).status_code == 404


def test_the_official_sdk_edits_and_reads_the_cost(caller: Caller) -> None:
    emulator = caller.emulator
    with OpenAI(base_url=emulator.base_url, api_key=emulator.api_key, max_retries=0) as client:
        answer = client.images.edit(
            model="deepshi-image-1",
            prompt="remove the person on the left",
            image=[SAMPLE_PHOTOGRAPH, SAMPLE_PHOTOGRAPH],
        )
    body = json.loads(answer.to_json())
    assert opened(base64.b64decode(body["data"][0]["b64_json"])).size == (451, 300)
    assert body["usage"]["cost"]["total_cost"] == 0.01
