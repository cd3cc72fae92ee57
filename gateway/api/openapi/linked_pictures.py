"""How `GET /v1/pictures/{id}` is described."""

from __future__ import annotations

from gateway.api.openapi.refusals import OF_PICTURES, headers
from gateway.api.openapi.schemas import TEXT, Operation, Schema
from gateway.uploads.rules.upload_limits import UploadLimits

CODES = (
    "permission_denied", "picture_gone", "precondition_failed", "range_not_satisfiable",
    "results_unavailable",
)  # fmt: skip
_HEADERS = ("X-Request-Id", "Cache-Control", *OF_PICTURES)


def describe(_: UploadLimits) -> Operation:
    return {
        "description": "Needs no key: whoever holds a link may read its picture until it expires.",
        "parameters": [
            _parameter("expires", "query", {"type": "integer", "minimum": 1}, required=True),
            _parameter("signature", "query", TEXT, required=True),
            *(_parameter(name, "header", TEXT) for name in ("Range", "If-Range", "If-None-Match")),
            _parameter("If-Match", "header", TEXT),
        ],
        "responses": {
            "200": _picture("The picture."),
            "206": _picture("The bytes that Range asks for."),
            "304": {
                "description": "It is the one that If-None-Match names.",
                "headers": headers(_HEADERS),
            },
        },
    }


def _parameter(name: str, place: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": place, "schema": schema, "required": required}


def _picture(description: str) -> Schema:
    content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    return {"description": description, "headers": headers(_HEADERS), "content": content}
