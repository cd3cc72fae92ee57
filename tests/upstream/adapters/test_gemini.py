from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model.edit import AdapterFacts, Edit
from gateway.model.errors import Refusal
from gateway.upstream.adapters.gemini import Gemini
from gateway.wire.answer import read_answer

ADAPTER = Gemini(AdapterFacts())
USAGE = {"promptTokenCount": 300, "candidatesTokenCount": 1120, "thoughtsTokenCount": 200}


def adapted(answer: dict[str, Any]) -> dict[str, Any]:
    parsed = read_answer(
        json.dumps(answer).encode(), "usage.cost", lambda tree: ADAPTER.to_openai(tree, 7)
    )
    document: dict[str, Any] = json.loads(parsed.body)
    return document


def answer_of(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}


def picture(data: str, **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": data}, **more}


def test_drafts_of_the_models_thoughts_are_no_answer() -> None:
    answer = answer_of({"text": "first"}, picture("ZHJhZnQ=", thought=True), picture("ZmluYWw="))
    assert adapted(answer)["data"] == [{"b64_json": "ZmluYWw="}]


def test_long_pictures_are_carried_over() -> None:
    assert adapted(answer_of(picture("QUJD" * 5_000)))["data"] == [{"b64_json": "QUJD" * 5_000}]


def test_thoughts_are_text_that_the_model_made() -> None:
    details = {"promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}]}
    usage = adapted({**answer_of(picture("QQ==")), "usageMetadata": {**USAGE, **details}})["usage"]
    assert usage["input_tokens_details"] == {
        "text_tokens": 42, "image_tokens": 258, "cached_tokens": 0
    }  # fmt: skip
    assert usage["output_tokens_details"] == {"text_tokens": 200, "image_tokens": 1_120}
    assert usage["total_tokens"] == 1_620


@pytest.mark.parametrize(
    "answer",
    [
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"candidates": [{"finishReason": "IMAGE_SAFETY"}]},
    ],
)
def test_a_stopped_prompt_says_why(answer: dict[str, Any]) -> None:
    error = adapted(answer)["error"]
    assert error["code"] == "content_policy_violation"
    assert error["message"].endswith(("PROHIBITED_CONTENT.", "IMAGE_SAFETY."))


def test_an_answer_without_picture_or_reason_has_no_error() -> None:
    assert "error" not in adapted(answer_of({"text": "sorry"}))


def test_a_wrong_key_is_a_401() -> None:
    details = [{"reason": "API_KEY_INVALID"}]
    error = {"code": 400, "message": "no", "status": "INVALID_ARGUMENT", "details": details}
    assert ADAPTER.error(400, json.dumps({"error": error}).encode())[0] == 401
    assert ADAPTER.error(400, b"<html>") == (400, b"<html>")


@pytest.mark.parametrize(
    ("name", "value"), [("n", "2"), ("size", "1024x1536"), ("output_format", "png")]
)
def test_what_it_cannot_say_is_refused(name: str, value: str) -> None:
    fields = (("model", "gemini-2.5-flash-image"), ("prompt", "grey"), (name, value))
    with pytest.raises(Refusal) as refused:
        ADAPTER.check(Edit("edits", "gemini-2.5-flash-image", fields))
    assert (refused.value.code, refused.value.param) == ("unsupported_field", name)
