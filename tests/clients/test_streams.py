"""Streams, as the official SDK sees them."""

from __future__ import annotations

import time

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import ImageEditCompletedEvent

from gateway.emulator import EmulatorServer
from tests.support.serving import KEY, PHOTOGRAPH, Running

PARTIALS = ["image_edit.partial_image"] * 2
COMPLETED = "image_edit.completed"


def test_the_sdk_reads_a_stream_as_it_comes_and_then_the_plain_answer_from_the_cache(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"latency_seconds": 0.9})
    types, seconds, started = [], [], time.monotonic()
    with OpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        stream = client.images.edit(
            model="deepshi-image-1", prompt="grey", image=PHOTOGRAPH, stream=True, partial_images=2
        )
        for event in stream:
            types.append(event.type)
            seconds.append(time.monotonic() - started)
        plain = client.images.edit(model="deepshi-image-1", prompt="grey", image=PHOTOGRAPH)

    assert types == [*PARTIALS, COMPLETED]
    assert seconds[0] < seconds[2] - 0.3
    assert isinstance(event, ImageEditCompletedEvent)
    assert event.usage.to_dict()["cost"] == {"total_cost": 0.01}
    assert event.usage.total_tokens == 0  # this upstream counts none
    assert (event.quality, event.background, event.output_format) == ("auto", "auto", "png")
    assert plain.data
    assert plain.data[0].b64_json == event.b64_json
    assert plain.created == event.created_at
    assert emulator.stats()["calls"] == 1


async def test_the_asynchronous_sdk_reads_a_stream_from_the_cache(
    gateway: Running, emulator: EmulatorServer
) -> None:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        plain = await client.images.edit(model="deepshi-image-1", prompt="grey", image=PHOTOGRAPH)
        stream = await client.images.edit(
            model="deepshi-image-1", prompt="grey", image=PHOTOGRAPH, stream=True, partial_images=2
        )
        events = [event async for event in stream]

    assert [event.type for event in events] == [COMPLETED]
    assert plain.data
    assert events[0].b64_json == plain.data[0].b64_json
    assert (events[0].quality, events[0].output_format) == ("auto", "png")
    assert emulator.stats()["calls"] == 1


def test_the_sdk_reads_a_generation_s_stream(gateway: Running) -> None:
    with OpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        stream = client.images.generate(
            model="deepshi-image-1", prompt="a lake", size="auto", stream=True, partial_images=1
        )
        types = [event.type for event in stream]

    assert types == ["image_generation.partial_image", "image_generation.completed"]


@pytest.mark.parametrize("fault", ["truncate_stream", "truncate", "stream_error"])
def test_the_sdk_raises_where_a_stream_fails_and_does_not_buy_again(
    gateway: Running, emulator: EmulatorServer, fault: str
) -> None:
    emulator.order({fault: True})
    types = []
    with OpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        stream = client.images.edit(
            model="deepshi-image-1", prompt="grey", image=PHOTOGRAPH, stream=True, partial_images=2
        )
        with pytest.raises(openai.APIError) as caught:
            types += [event.type for event in stream]

    assert caught.value.code == "upstream_failed"
    assert emulator.stats()["calls"] == 1


async def test_the_asynchronous_sdk_raises_where_a_stream_fails(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"truncate_stream": True})
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        stream = await client.images.edit(
            model="deepshi-image-1", prompt="grey", image=PHOTOGRAPH, stream=True
        )
        with pytest.raises(openai.APIError, match="It may have charged"):
            async for _ in stream:
                pass

    assert emulator.stats()["calls"] == 1


def test_a_refusal_before_a_stream_is_the_sdk_s_own_exception(
    gateway: Running, emulator: EmulatorServer
) -> None:
    with (
        OpenAI(base_url=gateway.base_url, api_key=KEY) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.images.edit(
            model="deepshi-image-1", prompt="forbidden", image=PHOTOGRAPH, stream=True
        )

    assert caught.value.code == "content_policy_violation"
    assert emulator.stats()["calls"] == 1
