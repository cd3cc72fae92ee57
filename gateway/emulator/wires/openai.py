"""OpenAI's image API: edits as multipart, generations as JSON, tokens in `usage` but no dollars.

It follows OpenAI's OpenAPI description of 2026-08 (paths, fields, answer, `usage`), and what the
developers' forum quotes of its guides and price list: threads 1371851 and 1275254 of 2025-2026 for
output tokens by quality and size, and rates; thread 1281361 for the 65 tokens of a picture that is
sent and 129 for each tile of 512 pixels. Of memory: 100 tokens for each partial picture, 4,160 or
6,240 for high fidelity. `dall-e-2` is in it for its answers by address, which are its default.

Not OpenAI's: text is counted as one token for four bytes; `auto` is always `high`, and of the three
sizes the one that is nearest to the first picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from starlette.requests import Request

from gateway.emulator.answers import image_items
from gateway.emulator.billing import Bill, Rates, Tokens
from gateway.emulator.catalogue import CENT, Model
from gateway.emulator.job import Job
from gateway.emulator.pixels import Encoded, size_of
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import (
    Asked,
    Parts,
    Route,
    as_texts,
    asked_of,
    named_model,
    read_document,
    read_multipart,
)
from gateway.emulator.sizing import Size
from gateway.emulator.wires.wire import ModelNamed, Wire

OUTPUT_TOKENS: Mapping[str, Mapping[Size, int]] = {
    "low": {(1024, 1024): 272, (1024, 1536): 408, (1536, 1024): 400},
    "medium": {(1024, 1024): 1056, (1024, 1536): 1584, (1536, 1024): 1568},
    "high": {(1024, 1024): 4160, (1024, 1536): 6240, (1536, 1024): 6208},
}
"""Tokens of one picture."""
GPT_IMAGE_MODELS = (
    Model("gpt-image-1", 0, 16, 10, Rates(text_in=5_000, image_in=10_000, image_out=40_000)),
    Model("gpt-image-1-mini", 0, 16, 10, Rates(text_in=2_000, image_in=2_500, image_out=8_000)),
    Model(
        "gpt-image-1.5",
        0,
        16,
        10,
        Rates(text_in=5_000, image_in=8_000, image_out=32_000, text_out=10_000),
    ),
)
_PARTIAL_TOKENS = 100
_BASE_TOKENS, _TILE_TOKENS, _TILE, _SHORT_SIDE = 65, 129, 512, 512
_SQUARE_FIDELITY, _OTHER_FIDELITY = 4_160, 6_240
_DALL_E_FIELDS = frozenset({"model", "prompt", "n", "size", "response_format", "user"})
_GPT_IMAGE_FIELDS = frozenset(
    {
        *(_DALL_E_FIELDS - {"response_format"}), "quality", "background", "output_format",
        "output_compression", "input_fidelity", "moderation", "stream", "partial_images",
    }
)  # fmt: skip


class OpenAI(Wire):
    """The gpt-image family by tokens, and `dall-e-2` by the picture."""

    models: ClassVar[tuple[Model, ...]] = (*GPT_IMAGE_MODELS, Model("dall-e-2", 2 * CENT, 1, 10))

    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        if route == "edits":
            parts = await read_multipart(request)
        else:
            parts = Parts(as_texts(await read_document(request)))
        return openai_request(route or "edits", model_named(named_model(parts.fields)), parts)

    def bill(self, asked: Asked) -> Bill:
        if asked.model.rates is None:
            return Bill(asked.model.price_nanos * asked.n)
        tokens = tokens_of(asked)
        return Bill(tokens.cost_nanos(asked.model.rates), tokens)

    def document(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> dict[str, object]:
        asked, document = job.asked, dict[str, object]({"created": created})
        if not job.knobs.no_picture:
            document["data"] = image_items(pictures, urls)
        if asked.model.rates:
            document |= {
                "background": asked.background,
                "output_format": asked.output_format,
                "quality": asked.quality,
                "size": pictures[0].size,
            }
        return document

    def usage(self, job: Job) -> str:
        if job.asked.model.rates is None:
            return ""
        tokens = job.bill.tokens
        return json.dumps(
            {
                "input_tokens": tokens.input,
                "input_tokens_details": {
                    "image_tokens": tokens.image_in, "text_tokens": tokens.text_in
                },
                "output_tokens": tokens.output,
                "total_tokens": tokens.input + tokens.output,
            }
        )  # fmt: skip

    def item(self, model: Model) -> dict[str, object]:
        return {"id": model.id, "object": "model", "created": 1_745_517_030, "owned_by": "system"}

    def policy_violation(self) -> Refused:
        message = "Your request was rejected by the safety system."
        return Refused(400, "moderation_blocked", message, None, type="image_generation_user_error")


def openai_request(route: Route, model: Model, parts: Parts) -> Asked:
    """The request, with the quality and size that it gets. Raises Refused."""
    known = _GPT_IMAGE_FIELDS if model.rates else _DALL_E_FIELDS
    for name in parts.fields.keys() - known:
        raise Refused(400, "unknown_parameter", f"Unknown parameter: '{name}'.", name)
    if not model.rates:
        fields = {"response_format": "url", **parts.fields}
        return asked_of(route, model, parts._replace(fields=fields))
    for name, allowed in (
        ("quality", ("auto", *OUTPUT_TOKENS)),
        ("size", ("auto", "1024x1024", "1024x1536", "1536x1024")),
        ("input_fidelity", ("low", "high")),
    ):
        if (value := parts.fields.get(name)) is not None and value not in allowed:
            supported = ", ".join(f"'{each}'" for each in allowed)
            message = f"Invalid value: '{value}'. Supported values are: {supported}."
            raise Refused(400, "invalid_value", message, name)
    asked = asked_of(route, model, parts)
    quality = "high" if asked.quality == "auto" else asked.quality
    return replace(asked, quality=quality, size=asked.size or _nearest_size(asked))


def tokens_of(asked: Asked) -> Tokens:
    """The tokens of a call of the gpt-image family."""
    each = OUTPUT_TOKENS[asked.quality][asked.size or (1024, 1024)]
    partials = asked.partial_images * _PARTIAL_TOKENS if asked.stream else 0
    pictures = [*asked.pictures, *([asked.mask] if asked.mask else [])]
    return Tokens(
        text_in=text_tokens(asked.prompt),
        image_in=sum(_picture_tokens(size_of(p), asked.fidelity) for p in pictures),
        image_out=each * asked.n + partials,
    )


def text_tokens(text: str) -> int:
    """One for four bytes; providers count by the vocabulary of a model."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4)


def _picture_tokens(size: Size, fidelity: str) -> int:
    """A picture is scaled to a short side of 512 pixels, and counted in tiles of 512."""
    width, height = size
    short = min(width, height)
    scale = min(1.0, _SHORT_SIDE / short)
    across, down = (math.ceil(int(side * scale) / _TILE) for side in (width, height))
    more = (_SQUARE_FIDELITY if width == height else _OTHER_FIDELITY) if fidelity == "high" else 0
    return _BASE_TOKENS + _TILE_TOKENS * across * down + more


def _nearest_size(asked: Asked) -> Size:
    width, height = size_of(asked.pictures[0]) if asked.pictures else (1, 1)
    shape = width / height
    return min(OUTPUT_TOKENS["low"], key=lambda size: abs(math.log(size[0] / size[1] / shape)))
