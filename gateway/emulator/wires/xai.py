"""xAI's image API: edits as JSON with the picture as a data URL, the cost in ticks.

It follows descriptions of 2026 of the reference of `POST /v1/images/edits` and `/generations`: one
of withone.ai (`image`, or `images`; `response_format` is `url` unless asked; `size` and `style` are
not supported; `usage.cost_in_usd_ticks`; a wrong key is a 400), and one of a public client
(ex-takashima/grok-imagine-image-mcp-server: the picture's form, $0.02 for each picture made and
$0.002 for each sent). xAI's own pages were not at hand. At most three pictures, and the envelope of
refusals with `code` and `error` as texts, are of memory. A tick is 1e-10 dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from starlette.requests import Request
from starlette.responses import Response

from gateway.emulator.answers import image_items
from gateway.emulator.billing import Bill
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
        "model", "prompt", "image", "images", "n", "aspect_ratio", "quality", "resolution",
        "response_format", "user",
    }
)  # fmt: skip
_TICKS_OF_A_DOLLAR = 10_000_000_000
_TICKS_OF_A_NANO = 10
_SENT_NANOS = CENT // 5
"""For each picture that is sent."""


class XAI(Wire):
    """A price for each picture made and sent; answers by address unless base64 is asked for."""

    models = (
        Model("grok-imagine-image", 2 * CENT, max_reference_images=3, max_n=10),
        Model("grok-2-image", 7 * CENT, max_reference_images=0, max_n=10),
    )

    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise Refused(415, "415", "Expected request with `Content-Type: application/json`")
        document = await read_document(request)
        for name in document.keys() - _FIELDS:
            raise bad_field(name, f"Argument not supported: {name}")
        one, several = document.pop("image", None), document.pop("images", None)
        if one is not None and several is not None:
            raise bad_field("images", "images and image are mutually exclusive.")
        given = several if several is not None else [one] if one is not None else []
        pictures = tuple(_picture(each) for each in given)
        fields = {"response_format": "url", **as_texts(document), "output_format": "jpeg"}
        model = model_named(named_model(fields))
        return asked_of(route or "edits", model, Parts(fields, pictures))

    def bill(self, asked: Asked) -> Bill:
        sent = _SENT_NANOS * len(asked.pictures)
        return Bill(asked.model.price_nanos * asked.n + sent)

    def document(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> dict[str, object]:
        if job.knobs.no_picture:
            return {}
        items = image_items(pictures, urls)
        more = {"mime_type": "image/jpeg", "revised_prompt": ""}
        return {"data": [{**item, **more} for item in items]}

    def usage(self, job: Job) -> str:
        ticks = str(job.cost_nanos * _TICKS_OF_A_NANO)
        if job.knobs.cost is not None:
            ticks = _ticks(job.knobs.cost)
        return "{}" if ticks == MISSING else f'{{"cost_in_usd_ticks": {ticks}}}'

    def item(self, model: Model) -> dict[str, object]:
        return {"id": model.id, "object": "model", "created": 1_743_724_800, "owned_by": "xai"}

    def wrong_key(self) -> Refused:
        return Refused(400, "Client specified an invalid argument", "Incorrect API key provided.")

    def no_such_model(self, name: str) -> Refused:
        message = f"The model {name} does not exist or your team does not have access to it."
        return Refused(404, "Some requested entity was not found", message)

    def policy_violation(self) -> Refused:
        message = "Generated image rejected by content moderation."
        return Refused(400, "Client specified an invalid argument", message)

    def refusal(self, refused: Refused) -> Response:
        return refused.as_json({"code": refused.code, "error": refused.message})


def _picture(item: object) -> bytes:
    """The picture of `{"url": "data:…"}`."""
    return from_data_url(item.get("url") if isinstance(item, dict) else None, "image")


def _ticks(cost: str) -> str:
    """A cost in dollars in ticks; what is no amount stays as it is."""
    try:
        return str(int(Decimal(cost) * _TICKS_OF_A_DOLLAR))
    except (InvalidOperation, ValueError, OverflowError):
        return cost
