from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.emulator.billing import Rates, Tokens
from tests.emulator.calling import error_of, opened, pictures_in
from tests.emulator.wires.calling import bearer, form, playing

Playing = tuple[EmulatorServer, httpx.Client]


@pytest.fixture(scope="module")
def openai() -> Iterator[Playing]:
    with playing("openai") as (server, http):
        http.headers.update(bearer(server))
        yield server, http


def test_tokens_cost_what_the_price_list_says() -> None:
    tokens = Tokens(text_in=23, image_in=1_500, image_out=4_160)
    rates = Rates(text_in=5_000, image_in=10_000, image_out=40_000)
    assert tokens.cost_nanos(rates) == 181_515_000


@pytest.mark.parametrize(
    ("quality", "size", "tokens"),
    [("low", "1024x1024", 272), ("medium", "1024x1536", 1_584), ("high", "1536x1024", 6_208)],
)
def test_a_picture_has_its_size_and_its_tokens(
    openai: Playing, quality: str, size: str, tokens: int
) -> None:
    server, http = openai
    server.reset()
    fields = {"model": "gpt-image-1", "quality": quality, "size": size, "output_format": "jpeg"}
    answer = http.post("/images/edits", **form(**fields))
    picture = opened(pictures_in(answer)[0])
    assert f"{picture.width}x{picture.height}" == size
    usage = answer.json()["usage"]
    assert usage == {
        "input_tokens": 3 + 194,
        "input_tokens_details": {"text_tokens": 3, "image_tokens": 194},
        "output_tokens": tokens,
        "total_tokens": 3 + 194 + tokens,
    }
    assert server.stats()["billed_nanos"] == 3 * 5_000 + 194 * 10_000 + tokens * 40_000


def test_a_stream_ends_with_usage_and_bills_its_partial_pictures(openai: Playing) -> None:
    fields = {"model": "gpt-image-1", "quality": "low", "size": "1024x1024"}
    streaming = {"stream": "true", "partial_images": "1", "output_format": "jpeg"}
    answer = openai[1].post("/images/edits", **form(**fields, **streaming))
    assert "image_edit.partial_image" in answer.text
    assert '"output_tokens": 372' in answer.text


def test_dall_e_answers_by_address_unless_asked_for_base64(openai: Playing) -> None:
    _, http = openai
    fields = {"model": "dall-e-2", "size": "256x256"}
    url = http.post("/images/edits", **form(**fields)).json()["data"][0]["url"]
    assert opened(http.get(url).content).size == (256, 256)
    asked = http.post("/images/edits", **form(**fields, response_format="b64_json"))
    assert pictures_in(asked)
    assert "usage" not in asked.json()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"response_format": "b64_json"}, "unknown_parameter"),
        ({"size": "640x480"}, "invalid_value"),
        ({"quality": "best"}, "invalid_value"),
        ({"prompt": "something forbidden"}, "moderation_blocked"),
    ],
)
def test_gpt_image_refuses_what_its_reference_does_not_list(
    openai: Playing, fields: dict[str, str], code: str
) -> None:
    answer = openai[1].post("/images/edits", **form(**{"model": "gpt-image-1", **fields}))
    assert error_of(answer) == (400, code)


def test_the_list_of_models_has_no_edit_block(openai: Playing) -> None:
    items = openai[1].get("/models").json()["data"]
    assert {"gpt-image-1", "dall-e-2"} <= {item["id"] for item in items}
    assert all(item.keys() == {"id", "object", "created", "owned_by"} for item in items)
