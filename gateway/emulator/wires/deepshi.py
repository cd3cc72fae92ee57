"""DeepShi: OpenAI's paths and forms, dollars in every answer, references limited by model.

It follows the documents of DeepShi's image API that the gateway was first built for.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from gateway.emulator.answers import image_items
from gateway.emulator.billing import Bill, usd
from gateway.emulator.catalogue import CENT, Model
from gateway.emulator.faults import MISSING
from gateway.emulator.job import Job
from gateway.emulator.pixels import Encoded
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
from gateway.emulator.wires.wire import ModelNamed, Wire

_RELEASED = 1_780_000_000


class DeepShi(Wire):
    """A price for each picture, stated at `usage.cost.total_cost`."""

    models = (
        Model("deepshi-image-1", CENT, max_reference_images=5),
        Model("deepshi-banana-pro", 2 * CENT, max_reference_images=0),
        Model("deepshi-solo-1", CENT // 2, max_reference_images=1),
        Model("deepshi-collage-14", 4 * CENT, max_reference_images=14),
        Model("deepshi-multi-1", 3 * CENT, max_reference_images=3, max_n=4),
    )

    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        if route == "edits":
            parts = await read_multipart(request)
        else:
            parts = Parts(as_texts(await read_document(request)))
        model = model_named(named_model(parts.fields))
        return asked_of(route or "edits", model, parts)

    def bill(self, asked: Asked) -> Bill:
        return Bill(asked.model.price_nanos * asked.n)

    def document(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> dict[str, object]:
        head: dict[str, object] = {
            "created": created, "model": job.asked.model.id, "size": pictures[0].size
        }  # fmt: skip
        if job.knobs.no_picture:
            return head
        items = image_items(pictures, urls)
        return {**head, "data": [{**item, "index": at} for at, item in enumerate(items)]}

    def usage(self, job: Job) -> str:
        cost = job.knobs.cost if job.knobs.cost is not None else usd(job.cost_nanos)
        inner = "" if cost == MISSING else f'"total_cost": {cost}'
        return f'{{"cost": {{{inner}}}}}'

    def item(self, model: Model) -> dict[str, object]:
        """With DeepShi's top-level `edit` block."""
        edit: dict[str, object] = {"supported": model.can_edit}
        if model.can_edit:
            edit["max_reference_images"] = model.max_reference_images
        return {
            "id": model.id,
            "object": "model",
            "created": _RELEASED,
            "owned_by": "deepshi",
            "edit": edit,
            "max_n": model.max_n,
        }
