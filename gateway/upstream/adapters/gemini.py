"""Google's Gemini API: `generateContent` with pictures inline in both directions.

Facts: docs/upstreams/gemini.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.model.edit import Edit
from gateway.upstream.adapters.adapter import (
    Endpoint,
    JsonAdapter,
    count,
    edit_block,
    error_body,
    prompt_of,
)
from gateway.wire.json_cutter import Number, plain_parse
from gateway.wire.json_writer import JsonBody
from gateway.wire.multipart_writer import EncodedBody

_CALL = "/models/{model}:generateContent"
_SQUARES = {"1024x1024": "1K", "2048x2048": "2K", "4096x4096": "4K"}
"""Sizes in pixels that are those of a ratio, 1:1, and a size."""
_SIZE = "Send 1024x1024, 2048x2048 or 4096x4096, or aspect_ratio such as 3:2 and image_size."
_REFERENCES = {"gemini-2.5-flash-image": 3}
_MOST_REFERENCES = 14
_IMAGE_MODEL = re.compile(r"gemini-.*-image")
_KEY_INVALID = "API_KEY_INVALID"


class Gemini(JsonAdapter):
    """One picture for each call; no mask, and no choice of its file's format."""

    endpoint = Endpoint(
        "https://generativelanguage.googleapis.com/v1beta",
        "GEMINI_API_KEY",
        auth="header:x-goog-api-key",
        edits_path=_CALL,
        generations_path=_CALL,
        models_path="/models?pageSize=1000",
    )
    names = frozenset({"aspect_ratio", "image_size", "resolution", "size", "n"})
    instead = {"n": "Send n=1, several times.", "size": _SIZE}  # noqa: RUF012

    def check_value(self, name: str, value: Any) -> None:
        if name == "n":
            raise self.unsupported(name, "makes one picture for each call")
        if name == "size" and value not in _SQUARES:
            raise self.unsupported(name, "has no such size")

    def encode(self, edit: Edit, boundary: str) -> EncodedBody:
        body = JsonBody()
        parts: list[dict[str, Any]] = [{"text": prompt_of(edit, self.facts)}]
        for reference in edit.references:
            inline = {"mimeType": reference.media_type, "data": body.base64(reference)}
            parts.append({"inlineData": inline})
        config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
        if image := dict(self._image_config(edit)):
            config["imageConfig"] = image
        contents = [{"role": "user", "parts": parts}]
        return body.encode({"contents": contents, "generationConfig": config})

    def _image_config(self, edit: Edit) -> Iterator[tuple[str, Any]]:
        for name, value in self.asked(edit):
            if name == "aspect_ratio":
                yield "aspectRatio", value
            elif name in ("image_size", "resolution"):
                yield "imageSize", value
            elif name == "size":
                yield from (("aspectRatio", "1:1"), ("imageSize", _SQUARES[value]))

    def to_openai(self, answer: dict[str, Any], created: int) -> dict[str, Any]:
        parts = [part for candidate in _candidates(answer) for part in _parts(candidate)]
        inline = [part["inlineData"] for part in parts if isinstance(part.get("inlineData"), dict)]
        found: dict[str, Any] = {
            "created": created,
            "data": [{"b64_json": picture.get("data")} for picture in inline],
            "usage": _usage(answer.get("usageMetadata")),
        }
        if not inline and (reason := _refusal(answer)):
            message = f"The upstream made no picture of this prompt: {reason}."
            found["error"] = {"message": message, "code": "content_policy_violation"}
        return found

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        """A wrong key is a 400; its reason is in the details."""
        try:
            error = plain_parse(body).get("error")
            message, code = str(error["message"]), str(error["status"]).lower()
        except (ValueError, AttributeError, KeyError, TypeError):
            return status, body
        if status == 400 and _KEY_INVALID in str(error.get("details")):
            return 401, error_body(message, "invalid_api_key", status=401)
        return status, error_body(message, code, status=status)

    def to_listing(self, document: Any) -> Any:
        """Of all models those that make pictures, in OpenAI's form."""
        names = [str(model["name"]).removeprefix("models/") for model in document["models"]]
        items = [
            edit_block(
                {"id": name, "object": "model", "created": 0, "owned_by": "google"},
                _REFERENCES.get(name, _MOST_REFERENCES),
            )
            for name in names
            if _IMAGE_MODEL.match(name)
        ]
        return {"object": "list", "data": items}


def _candidates(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found = answer.get("candidates")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _parts(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of an answer; drafts that belong to the model's thoughts are no answer."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    found = parts if isinstance(parts, list) else []
    return [part for part in found if isinstance(part, dict) and part.get("thought") is not True]


def _refusal(answer: dict[str, Any]) -> str:
    """Why there is no picture, in Google's word; empty if it says nothing of it."""
    feedback = answer.get("promptFeedback")
    reasons = [feedback.get("blockReason")] if isinstance(feedback, dict) else []
    reasons += [candidate.get("finishReason") for candidate in _candidates(answer)]
    return next((str(each) for each in reasons if each and each != "STOP"), "")


def _usage(metadata: Any) -> dict[str, Any]:
    """Tokens as OpenAI counts them. Thoughts are text that the model made."""
    counts = metadata if isinstance(metadata, dict) else {}
    prompt, made = (count(counts.get(f"{name}TokenCount")) for name in ("prompt", "candidates"))
    output = made + count(counts.get("thoughtsTokenCount"))
    image_in = _of_images(counts.get("promptTokensDetails"), otherwise=0)
    image_out = _of_images(counts.get("candidatesTokensDetails"), otherwise=made)
    return {
        "input_tokens": Number(prompt),
        "input_tokens_details": {
            "text_tokens": Number(max(0, prompt - image_in)),
            "image_tokens": Number(image_in),
            "cached_tokens": Number(count(counts.get("cachedContentTokenCount"))),
        },
        "output_tokens": Number(output),
        "output_tokens_details": {
            "text_tokens": Number(max(0, output - image_out)),
            "image_tokens": Number(image_out),
        },
        "total_tokens": Number(prompt + output),
    }


def _of_images(details: Any, otherwise: int) -> int:
    """The tokens of pictures among those of all modalities."""
    if not isinstance(details, list):
        return otherwise
    kinds = [each for each in details if isinstance(each, dict)]
    return sum(count(each.get("tokenCount")) for each in kinds if each.get("modality") == "IMAGE")
