"""Streams, as the official SDK sees them and byte by byte."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIError, OpenAI

from gateway.emulator import SAMPLE_PHOTOGRAPH
from tests.emulator.calling import Caller, error_of, opened, picture_file, pictures_in


@pytest.fixture
def sdk(caller: Caller) -> Iterator[OpenAI]:
    emulator = caller.emulator
    with OpenAI(base_url=emulator.base_url, api_key=emulator.api_key, max_retries=0) as client:
        yield client


def events_of(text: str) -> list[dict[str, Any]]:
    """The documents of a stream, whose event names agree with their types."""
    documents = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert name == f"event: {document['type']}"
        documents.append(document)
    return documents


@pytest.mark.parametrize("partial_images", range(4))
def test_as_many_partial_pictures_as_asked_for_then_the_final_one(
    caller: Caller, partial_images: int
) -> None:
    answer = caller.edit(stream="true", partial_images=str(partial_images))
    assert answer.headers["content-type"] == "text/event-stream"
    *partials, completed = events_of(answer.text)
    assert [event["type"] for event in partials] == ["image_edit.partial_image"] * partial_images
    assert [event["partial_image_index"] for event in partials] == list(range(partial_images))
    assert completed["type"] == "image_edit.completed"
    assert completed["usage"] == {"cost": {"total_cost": 0.01}}
    assert caller.stats()["billed_usd"] == "0.01"


def test_the_final_event_carries_the_picture_of_the_plain_answer(caller: Caller) -> None:
    plain = caller.edit("sepia")
    completed = events_of(caller.edit("sepia", stream="true").text)[-1]
    assert base64.b64decode(completed["b64_json"]) == pictures_in(plain)[0]
    assert completed.keys() == {
        "type",
        "b64_json",
        "created_at",
        "size",
        "quality",
        "background",
        "output_format",
        "usage",
    }


def test_a_partial_picture_is_a_rough_one_of_the_same_size(caller: Caller) -> None:
    photograph = SAMPLE_PHOTOGRAPH.read_bytes()
    answer = caller.edit("grey", references=[photograph], stream="true", partial_images="2")
    pictures = [opened(base64.b64decode(e["b64_json"])) for e in events_of(answer.text)]
    assert {picture.size for picture in pictures} == {(451, 300)}
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_a_stream_spreads_its_latency_over_its_events(caller: Caller) -> None:
    caller.next_call(latency_seconds=0.4)
    begun, arrivals = time.monotonic(), []
    data = {"model": "deepshi-image-1", "prompt": "x", "stream": "true", "partial_images": "3"}
    files = {"image": picture_file()}
    with caller.http.stream("POST", "/v1/images/edits", data=data, files=files) as answer:
        for line in answer.iter_lines():
            if line.startswith("event:"):
                arrivals.append(time.monotonic() - begun)
    assert all(joined >= 0.1 * place for joined, place in zip(arrivals, range(1, 5), strict=True))
    assert arrivals[0] < 0.3


def test_the_official_sdk_reads_an_edit_stream(sdk: OpenAI) -> None:
    stream = sdk.images.edit(
        model="deepshi-image-1",
        prompt="grey",
        image=picture_file(),
        stream=True,
        partial_images=1,
    )
    assert [e.type for e in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_the_official_sdk_reads_a_generation_stream(sdk: OpenAI) -> None:
    stream = sdk.images.generate(
        model="deepshi-image-1", prompt="a lake", size="auto", stream=True, partial_images=1
    )
    assert [event.type for event in stream] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]


def test_a_stream_carries_one_picture_only(caller: Caller) -> None:
    answer = caller.edit(model="deepshi-multi-1", n="2", stream="true")
    assert error_of(answer) == (400, "unsupported_n")


def test_what_is_wrong_with_a_picture_is_said_before_the_stream(caller: Caller) -> None:
    answer = caller.edit(references=[b"no picture"], stream="true")
    assert error_of(answer) == (400, "invalid_image")


def test_a_stream_may_end_properly_without_its_last_event(caller: Caller) -> None:
    caller.next_call(truncate_stream=True)
    answer = caller.edit(stream="true", partial_images="1")
    assert [e["type"] for e in events_of(answer.text)] == ["image_edit.partial_image"]
    assert caller.stats()["billed_calls"] == 1


@pytest.mark.parametrize("knob", ["truncate", "reset_mid_answer"])
def test_a_stream_may_break_in_the_middle_of_its_last_event(caller: Caller, knob: str) -> None:
    caller.next_call(**{knob: True})
    with pytest.raises(httpx.TransportError):
        caller.edit(stream="true", partial_images="1")
    assert caller.stats()["billed_calls"] == 1


def test_a_stream_may_end_in_an_error_event(caller: Caller, sdk: OpenAI) -> None:
    caller.next_call(stream_error=True)
    stream = sdk.images.edit(
        model="deepshi-image-1", prompt="x", image=picture_file(), stream=True, partial_images=1
    )
    with pytest.raises(APIError, match="told to fail"):
        list(stream)
    assert caller.stats()["billed_calls"] == 0


def test_a_stream_states_an_odd_cost_too(caller: Caller) -> None:
    caller.next_call(cost=None)
    completed = events_of(caller.edit(stream="true").text)[-1]
    assert completed["usage"] == {"cost": {"total_cost": None}}


def test_a_last_event_may_be_garbage_or_without_picture(caller: Caller) -> None:
    caller.order(next=[{"garbage": True}, {"no_picture": True}])
    with pytest.raises(json.JSONDecodeError):
        events_of(caller.edit(stream="true").text)
    assert "b64_json" not in events_of(caller.edit(stream="true").text)[-1]
