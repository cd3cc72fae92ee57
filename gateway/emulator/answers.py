"""The documented JSON answer of a served call, as bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from gateway.emulator.billing import usd
from gateway.emulator.emulator import Job
from gateway.emulator.faults import MISSING
from gateway.emulator.pixels import Encoded

GARBAGE = b'{"created": 17825, "data": [{"b64_json": "iVBORw0KGgo'
"""An answer that is no JSON, broken off as if inside its picture."""


def body(job: Job, created: int, size: str, data: Sequence[dict[str, object]]) -> bytes:
    """The answer; broken where the knobs say so."""
    if job.knobs.garbage:
        return GARBAGE
    document = {"created": created, "model": job.asked.model.id, "size": size, "data": data}
    if job.knobs.no_picture:
        del document["data"]
    return with_usage(document, job)


def image_data(pictures: Sequence[Encoded]) -> list[dict[str, object]]:
    """The answer's `data`, with the pictures in it."""
    return [{"b64_json": base64_of(p), "index": i} for i, p in enumerate(pictures)]


def image_links(addresses: Sequence[str]) -> list[dict[str, object]]:
    """The answer's `data`, with the pictures' addresses in it."""
    return [{"url": address, "index": i} for i, address in enumerate(addresses)]


def with_usage(document: dict[str, object], job: Job) -> bytes:
    """The document as JSON, `usage` last, its cost as exact text that was never a float."""
    cost = job.knobs.cost if job.knobs.cost is not None else usd(job.cost_nanos)
    inner = "" if cost == MISSING else f'"total_cost": {cost}'
    return f'{json.dumps(document)[:-1]}, "usage": {{"cost": {{{inner}}}}}}}'.encode()


def base64_of(picture: Encoded) -> str:
    return base64.b64encode(picture.content).decode()
