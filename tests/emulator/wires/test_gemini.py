from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.emulator.calling import opened
from tests.emulator.wires.calling import generate_content, playing

PATH = "/models/{}:generateContent"
FLASH, PRO = "gemini-2.5-flash-image", "gemini-3-pro-image-preview"


def test_an_edit_has_its_picture_inline_and_tokens_by_modality() -> None:
    with playing("gemini") as (server, http):
        headers = {"x-goog-api-key": server.api_key}
        answer = http.post(PATH.format(FLASH), json=generate_content(), headers=headers).json()
        parts = answer["candidates"][0]["content"]["parts"]
        inline = next(part["inlineData"] for part in parts if "inlineData" in part)
        assert opened(base64.b64decode(inline["data"])).format == "PNG"
        usage = answer["usageMetadata"]
        assert (usage["promptTokenCount"], usage["candidatesTokenCount"]) == (3 + 258, 1_290)
        assert server.stats()["billed_nanos"] == (3 + 258) * 300 + 1_290 * 30_000


def test_a_large_picture_of_the_pro_model_costs_more_and_thoughts_too() -> None:
    with playing("gemini") as (server, http):
        headers = {"x-goog-api-key": server.api_key}
        asked = generate_content(imageConfig={"aspectRatio": "8:1", "imageSize": "4K"})
        usage = http.post(PATH.format(PRO), json=asked, headers=headers).json()["usageMetadata"]
        assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (2_000, 200)
        sent = (3 + 560) * 2_000
        assert server.stats()["billed_nanos"] == sent + 2_000 * 120_000 + 200 * 12_000


def test_a_prompt_that_is_stopped_is_a_200_that_bills_its_input() -> None:
    with playing("gemini") as (server, http):
        headers = {"x-goog-api-key": server.api_key}
        asked = generate_content("forbidden")
        answer = http.post(PATH.format(FLASH), json=asked, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["candidates"][0] == {"finishReason": "IMAGE_SAFETY", "index": 0}
        assert server.stats()["billed_nanos"] == (3 + 258) * 300


@pytest.mark.parametrize(
    ("model", "config", "key", "status"),
    [
        (FLASH, {}, "wrong", "INVALID_ARGUMENT"),
        ("gemini-9", {}, "sk-emulator", "NOT_FOUND"),
        (FLASH, {"candidateCount": 2}, "sk-emulator", "INVALID_ARGUMENT"),
    ],
)
def test_refusals_have_googles_envelope(
    model: str, config: dict[str, Any], key: str, status: str
) -> None:
    with playing("gemini") as (_, http):
        asked, headers = generate_content(**config), {"x-goog-api-key": key}
        answer = http.post(PATH.format(model), json=asked, headers=headers)
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (answer.status_code, status)


def test_the_list_has_models_that_make_no_pictures_too() -> None:
    with playing("gemini") as (server, http):
        headers = {"x-goog-api-key": server.api_key}
        models = http.get("/models", headers=headers).json()["models"]
    assert {f"models/{FLASH}", "models/gemini-2.5-flash"} <= {model["name"] for model in models}
