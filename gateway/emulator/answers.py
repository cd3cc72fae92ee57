"""Parts of the answers of a served call, plain and as a stream of events."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from starlette.responses import Response

from gateway.emulator.job import Job
from gateway.emulator.pixels import Encoded
from gateway.emulator.request_body import Asked

_EVENT_PREFIXES = {"edits": "image_edit", "generations": "image_generation"}
GARBAGE = b'{"created": 17825, "data": [{"b64_json": "iVBORw0KGgo'
"""JSON that is cut off inside its picture."""


def image_items(pictures: Sequence[Encoded], urls: Sequence[str] | None) -> list[dict[str, object]]:
    """The items of `data`: the pictures, or their addresses where `urls` are given."""
    if urls is not None:
        return [{"url": url} for url in urls]
    return [{"b64_json": base64_of(picture)} for picture in pictures]


def partial_event(asked: Asked, partial: Encoded, created: int, index: int) -> bytes:
    """A rough picture before the final one."""
    name = f"{_EVENT_PREFIXES[asked.route]}.partial_image"
    document = _event_document(name, asked, partial, created) | {"partial_image_index": index}
    return _event(name, json.dumps(document).encode())


def completed_event(
    job: Job, picture: Encoded, created: int, usage: str, urls: Sequence[str] | None = None
) -> bytes:
    """The final picture, or its address, and its `usage`, which is given as JSON text."""
    name = f"{_EVENT_PREFIXES[job.asked.route]}.completed"
    if job.knobs.garbage:
        return _event(name, GARBAGE)
    document = _event_document(name, job.asked, picture, created)
    if job.knobs.no_picture or urls:
        del document["b64_json"]
    document |= {"url": urls[0]} if urls else {}
    return _event(name, with_usage(document, usage))


def error_event(refusal: Response) -> bytes:
    """The failure of a stream that has begun."""
    return b"data: %s\n\n" % bytes(refusal.body)


def _event_document(name: str, asked: Asked, picture: Encoded, created: int) -> dict[str, object]:
    return {
        "type": name,
        "b64_json": base64_of(picture),
        "created_at": created,
        "size": picture.size,
        "quality": asked.quality,
        "background": asked.background,
        "output_format": asked.output_format,
    }


def _event(name: str, document: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), document)


def with_usage(document: dict[str, object], usage: str, name: str = "usage") -> bytes:
    """The document as JSON, its `usage` last, given as JSON text; empty: left out."""
    text = json.dumps(document)
    return (f'{text[:-1]}, "{name}": {usage}}}' if usage else text).encode()


def base64_of(picture: Encoded) -> str:
    return base64.b64encode(picture.content).decode()
