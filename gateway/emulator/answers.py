"""The documented answers of a served call, plain and as a stream of events."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from gateway.emulator.billing import usd
from gateway.emulator.emulator import Job
from gateway.emulator.faults import MISSING
from gateway.emulator.pixels import Encoded
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import Asked

_EVENT_PREFIXES = {"edits": "image_edit", "generations": "image_generation"}
_GARBAGE = b'{"created": 17825, "data": [{"b64_json": "iVBORw0KGgo'
"""JSON that is cut off inside its picture."""


def plain_answer(
    job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
) -> bytes:
    """The JSON answer: the pictures, or their addresses where `urls` are given."""
    if job.knobs.garbage:
        return _GARBAGE
    document: dict[str, object] = {
        "created": created, "model": job.asked.model.id, "size": pictures[0].size
    }  # fmt: skip
    if not job.knobs.no_picture:
        key = "b64_json" if urls is None else "url"
        values = [_base64(picture) for picture in pictures] if urls is None else urls
        document["data"] = [{key: value, "index": i} for i, value in enumerate(values)]
    return _with_usage(document, job)


def partial_event(asked: Asked, partial: Encoded, created: int, index: int) -> bytes:
    """A rough picture before the final one."""
    name = f"{_EVENT_PREFIXES[asked.route]}.partial_image"
    document = _event_document(name, asked, partial, created) | {"partial_image_index": index}
    return _event(name, json.dumps(document).encode())


def completed_event(job: Job, picture: Encoded, created: int) -> bytes:
    """The final picture and its cost."""
    name = f"{_EVENT_PREFIXES[job.asked.route]}.completed"
    if job.knobs.garbage:
        return _event(name, _GARBAGE)
    document = _event_document(name, job.asked, picture, created)
    if job.knobs.no_picture:
        del document["b64_json"]
    return _event(name, _with_usage(document, job))


def error_event(refused: Refused) -> bytes:
    """The failure of a stream that has begun."""
    return b"data: " + refused.body() + b"\n\n"


def _event_document(name: str, asked: Asked, picture: Encoded, created: int) -> dict[str, object]:
    return {
        "type": name,
        "b64_json": _base64(picture),
        "created_at": created,
        "size": picture.size,
        "quality": asked.quality,
        "background": asked.background,
        "output_format": asked.output_format,
    }


def _event(name: str, document: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), document)


def _with_usage(document: dict[str, object], job: Job) -> bytes:
    """The document as JSON, `usage` last; its cost is exact text that was never a float."""
    cost = job.knobs.cost if job.knobs.cost is not None else usd(job.cost_nanos)
    inner = "" if cost == MISSING else f'"total_cost": {cost}'
    return f'{json.dumps(document)[:-1]}, "usage": {{"cost": {{{inner}}}}}}}'.encode()


def _base64(picture: Encoded) -> str:
    return base64.b64encode(picture.content).decode()
