"""The events of a streamed answer."""

from __future__ import annotations

import json

from gateway.emulator.answers import GARBAGE, base64_of, with_usage
from gateway.emulator.emulator import Job
from gateway.emulator.pixels import Encoded
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import Asked

_NAMES = {"edits": "image_edit", "generations": "image_generation"}


def partial_event(asked: Asked, partial: Encoded, created: int, index: int) -> bytes:
    """A rough picture on the way to the final one."""
    name = f"{_NAMES[asked.route]}.partial_image"
    document = _document(name, asked, partial, created) | {"partial_image_index": index}
    return _event(name, json.dumps(document).encode())


def completed_event(job: Job, picture: Encoded, created: int) -> bytes:
    """The final picture, with what it cost; broken where the knobs say so."""
    name = f"{_NAMES[job.asked.route]}.completed"
    if job.knobs.garbage:
        return _event(name, GARBAGE)
    document = _document(name, job.asked, picture, created)
    if job.knobs.no_picture:
        del document["b64_json"]
    return _event(name, with_usage(document, job))


def error_event(refused: Refused) -> bytes:
    """How a stream that has begun says that it failed."""
    return b"data: " + refused.body() + b"\n\n"


def _document(name: str, asked: Asked, picture: Encoded, created: int) -> dict[str, object]:
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
