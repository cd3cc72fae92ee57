"""Google's Gemini API: `generateContent` with pictures inline in both directions.

It follows copies of 2026 of Google's guide "Image understanding" (inline pictures, 20 MB in a
request), and of pages that repeat its reference of image models (gptproto.com, aiandgpu.com:
`generationConfig.responseModalities` and `imageConfig`, `inlineData`, `usageMetadata`; gmicloud.ai:
1,290 tokens a picture, at most three; aifreeapi.com of 2026-03: the prices of gemini-3-pro-image).
Of memory: that model's 1,120 tokens a picture, 2,000 in 4K, and 560 for one that is sent; thoughts
billed as text; `models.list`; the envelope of refusals.

A prompt that the safety system stops is a 200 without a picture; its input is billed. A wrong key
is a 400. Not Google's: text is counted as one token for four bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.emulator.answers import base64_of
from gateway.emulator.billing import Bill, Rates, Tokens
from gateway.emulator.catalogue import Model
from gateway.emulator.job import Job
from gateway.emulator.pixels import Encoded
from gateway.emulator.refusals import Refused, bad_field
from gateway.emulator.request_body import (
    Asked,
    Parts,
    Route,
    asked_of,
    from_base64,
    read_document,
)
from gateway.emulator.wires.openai import text_tokens
from gateway.emulator.wires.wire import ModelNamed, Wire

_MEMBERS = frozenset({"contents", "generationConfig"})
_CONFIG = frozenset({"responseModalities", "imageConfig"})
_IMAGE_CONFIG = frozenset({"aspectRatio", "imageSize"})
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_LARGE = 4096
"""The long side of a picture in 4K."""
_FLASH, _PRO = "gemini-2.5-flash-image", "gemini-3-pro-image-preview"
_THOUGHTS = 200
_DRAFT = Encoded(b"\x89PNG\r\n\x1a\n a draft that belongs to the thoughts", "png", "1x1")


class Gemini(Wire):
    """By tokens; never more than one picture, never its address."""

    base_path = "/v1beta"
    routes: ClassVar[Mapping[str, Route | None]] = {"/v1beta/models/{model}:generateContent": None}
    models_path = "/v1beta/models"
    usage_name = "usageMetadata"
    models = (
        Model(_FLASH, 0, 3, 1, Rates(text_in=300, image_in=300, image_out=30_000, text_out=2_500)),
        Model(
            _PRO,
            0,
            14,
            1,
            Rates(text_in=2_000, image_in=2_000, image_out=120_000, text_out=12_000),
        ),
    )

    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        model = model_named(request.path_params["model"])
        document = await read_document(request)
        fields, pictures = _parts(_members(document, "", _MEMBERS))
        parts = Parts({"output_format": "png", **fields}, pictures)
        return asked_of("edits" if pictures else "generations", model, parts)

    def check(self, asked: Asked) -> None:
        """The safety system's word comes in the answer."""

    def bill(self, asked: Asked) -> Bill:
        is_pro = asked.model.id == _PRO
        is_large = bool(asked.size and max(asked.size) >= _LARGE)
        image_out = (2_000 if is_large else 1_120) if is_pro else 1_290
        tokens = Tokens(
            text_in=text_tokens(asked.prompt),
            image_in=len(asked.pictures) * (560 if is_pro else 258),
            image_out=image_out,
            text_out=_THOUGHTS if is_pro else 0,
        )
        if asked.is_blocked:
            tokens = replace(tokens, image_out=0, text_out=0)
        return Bill(tokens.cost_nanos(asked.model.rates), tokens) if asked.model.rates else Bill(0)

    def document(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> dict[str, object]:
        head: dict[str, object] = {
            "modelVersion": job.asked.model.id, "responseId": job.request_id
        }  # fmt: skip
        if job.asked.is_blocked:
            return {**head, "candidates": [{"finishReason": "IMAGE_SAFETY", "index": 0}]}
        parts: list[dict[str, object]] = [{"text": "Here is the picture:"}]
        if job.bill.tokens.text_out:
            draft = {"mimeType": "image/png", "data": base64_of(_DRAFT)}
            parts = [
                {"text": "First a draft.", "thought": True},
                {"inlineData": draft, "thought": True},
            ]
        if not job.knobs.no_picture:
            mime_type = f"image/{pictures[0].format}"
            inline = {"mimeType": mime_type, "data": base64_of(pictures[0])}
            parts.append({"inlineData": inline})
        content = {"role": "model", "parts": parts}
        return {
            **head,
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        }

    def usage(self, job: Job) -> str:
        tokens = job.bill.tokens
        usage: dict[str, object] = {
            "promptTokenCount": tokens.input,
            "totalTokenCount": tokens.input + tokens.output,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": tokens.text_in},
                {"modality": "IMAGE", "tokenCount": tokens.image_in},
            ],
        }
        if tokens.image_out:
            usage["candidatesTokenCount"] = tokens.image_out
            usage["candidatesTokensDetails"] = [
                {"modality": "IMAGE", "tokenCount": tokens.image_out}
            ]
        if tokens.text_out:
            usage["thoughtsTokenCount"] = tokens.text_out
        return json.dumps(usage)

    def item(self, model: Model) -> dict[str, object]:
        return {
            "name": f"models/{model.id}",
            "version": "1",
            "displayName": model.id,
            "inputTokenLimit": 32_768,
            "outputTokenLimit": 32_768,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }

    def listing(self) -> dict[str, object]:
        text_model = Model("gemini-2.5-flash", 0, 0)
        embedding = {**self.item(Model("gemini-embedding-001", 0, 0))}
        embedding["supportedGenerationMethods"] = ["embedContent"]
        models = [*(self.item(model) for model in (*self.models, text_model)), embedding]
        return {"models": models}

    def key(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-goog-api-key", "")

    def wrong_key(self) -> Refused:
        message = "API key not valid. Please pass a valid API key."
        return Refused(400, "API_KEY_INVALID", message)

    def no_such_model(self, name: str) -> Refused:
        message = f"models/{name} is not found for API version v1beta."
        return Refused(404, "not_found", message)

    def refusal(self, refused: Refused) -> Response:
        """Google's envelope: a number as code, a status, and for keys the reason."""
        status = _STATUSES.get(refused.status, "UNKNOWN")
        error: dict[str, object] = {
            "code": refused.status, "message": refused.message, "status": status
        }  # fmt: skip
        if refused.code == "API_KEY_INVALID":
            error["details"] = [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": refused.code,
                    "domain": "googleapis.com",
                }
            ]
        return refused.as_json({"error": error})


def _parts(document: Mapping[str, Any]) -> tuple[dict[str, str], tuple[bytes, ...]]:
    """The prompt and sizing of a request as fields, and its pictures. Raises Refused."""
    contents = document.get("contents")
    if not isinstance(contents, list) or len(contents) != 1:
        raise bad_field("contents", "The emulator takes one turn.")
    texts, pictures = [], []
    for part in contents[0].get("parts", []):
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            inline = _members(part.get("inlineData"), "inlineData", {"mimeType", "data"})
            pictures.append(from_base64(inline.get("data"), "inlineData"))
    config = _members(document.get("generationConfig", {}), "generationConfig", _CONFIG)
    image = _members(config.get("imageConfig", {}), "imageConfig", _IMAGE_CONFIG)
    sizing = {"aspect_ratio": image.get("aspectRatio"), "resolution": image.get("imageSize")}
    fields = {name: text for name, text in sizing.items() if isinstance(text, str)}
    return {"prompt": "\n".join(texts), **fields}, tuple(pictures)


def _members(value: object, name: str, known: set[str] | frozenset[str]) -> Mapping[str, Any]:
    """An object of known members. Raises Refused."""
    if not isinstance(value, dict):
        raise bad_field(name, f"Invalid value at '{name}'.")
    for unknown in value.keys() - known:
        raise bad_field(unknown, f'Unknown name "{unknown}": Cannot find field.')
    return value
