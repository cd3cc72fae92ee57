"""OpenRouter's Image API: `POST /images` as JSON, edits by `input_references`, dollars stated.

It follows copies of 2026 of OpenRouter's reference "Generate an image" (fields, answer, at most 16
references), of its guide "Image Generation" (`GET /images/models`, capability descriptors), and of
its list of errors (statuses). The models' prices and numbers are those of their pages.

Not OpenRouter's: fields that the reference does not list are refused, so that a test sees what was
sent. The real service may ignore them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.emulator.answers import base64_of
from gateway.emulator.billing import Bill, Tokens, usd
from gateway.emulator.catalogue import CENT, Model
from gateway.emulator.faults import MISSING
from gateway.emulator.job import Job
from gateway.emulator.pixels import Encoded
from gateway.emulator.refusals import Refused, bad_field
from gateway.emulator.request_body import (
    Asked,
    Parts,
    Route,
    as_texts,
    asked_of,
    from_data_url,
    named_model,
    read_document,
)
from gateway.emulator.wires.wire import ModelNamed, Wire

_FIELDS = frozenset(
    {
        "model", "prompt", "aspect_ratio", "background", "input_references", "n",
        "output_compression", "output_format", "provider", "quality", "resolution", "seed", "size",
        "stream",
    }
)  # fmt: skip
_MOST_REFERENCES = 16
_TOKENS_OF_A_PICTURE = 4_175


class OpenRouter(Wire):
    """A price for each picture; every answer has base64."""

    base_path = "/api/v1"
    routes: ClassVar[Mapping[str, Route | None]] = {"/api/v1/images": None}
    models_path = "/api/v1/images/models"
    models = (
        Model("bytedance-seed/seedream-4.5", 4 * CENT, max_reference_images=14),
        Model("qwen/qwen-image-3", 3 * CENT, max_reference_images=4, max_n=6),
    )

    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        document = await read_document(request)
        for name in document.keys() - _FIELDS:
            raise bad_field(name, f"Unrecognized key: {name}")
        references = document.pop("input_references", [])
        if not isinstance(references, list) or len(references) > _MOST_REFERENCES:
            raise bad_field("input_references", f"At most {_MOST_REFERENCES} references.")
        pictures = tuple(map(_reference, references))
        fields = {**as_texts(document), "stream": "false"}
        parts = Parts(fields, pictures)
        model = model_named(named_model(fields))
        return asked_of("edits" if pictures else "generations", model, parts)

    def bill(self, asked: Asked) -> Bill:
        tokens = Tokens(image_out=_TOKENS_OF_A_PICTURE * asked.n)
        return Bill(asked.model.price_nanos * asked.n, tokens)

    def document(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> dict[str, object]:
        if job.knobs.no_picture:
            return {"created": created}
        items = [{"b64_json": base64_of(p), "media_type": f"image/{p.format}"} for p in pictures]
        return {"created": created, "data": items}

    def usage(self, job: Job) -> str:
        cost = job.knobs.cost if job.knobs.cost is not None else usd(job.cost_nanos)
        tokens = job.bill.tokens
        stated = "" if cost == MISSING else f'"cost": {cost}, '
        return (
            f'{{{stated}"prompt_tokens": {tokens.input}, "completion_tokens": {tokens.output}, '
            f'"total_tokens": {tokens.input + tokens.output}}}'
        )

    def item(self, model: Model) -> dict[str, object]:
        capabilities: dict[str, object] = {
            "resolution": {"type": "enum", "values": ["1K", "2K", "4K"]},
            "n": {"type": "range", "min": 1, "max": model.max_n},
        }
        if model.can_edit:
            most = model.max_reference_images
            capabilities["input_references"] = {"type": "range", "min": 0, "max": most}
        return {
            "id": model.id,
            "name": model.id,
            "created": 1_692_901_234,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
            "supported_parameters": capabilities,
            "supports_streaming": False,
            "endpoints": f"/api/v1/images/models/{model.id}/endpoints",
        }

    def listing(self) -> dict[str, object]:
        return {"data": [self.item(model) for model in self.models]}

    def wrong_key(self) -> Refused:
        return Refused(401, "401", "No auth credentials found")

    def policy_violation(self) -> Refused:
        return Refused(403, "403", "The request was flagged by moderation.")

    def refusal(self, refused: Refused) -> Response:
        """A number as code, and the reason for a machine under `metadata`."""
        error: dict[str, object] = {"code": refused.status, "message": refused.message}
        if refused.param:
            error["metadata"] = {"reason": refused.code, "field": refused.param}
        return refused.as_json({"error": error})


def _reference(item: object) -> bytes:
    """The picture of `{"type": "image_url", "image_url": {"url": "data:…"}}`."""
    image = item.get("image_url") if isinstance(item, dict) else None
    if not isinstance(image, dict):
        raise bad_field("input_references", "Expected image_url.")
    return from_data_url(image.get("url"), "input_references")
