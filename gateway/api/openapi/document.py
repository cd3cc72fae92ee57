"""The whole document: what this gateway serves, by its settings and the code's own tables."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.api.openapi.operations import Operations, admin_operations, public_operations
from gateway.api.openapi.refusals import HEADERS
from gateway.api.openapi.schemas import SCHEMAS, Operation, Schema
from gateway.model.errors import KINDS
from gateway.runtime.backends import VERSION
from gateway.settings import Settings
from gateway.uploads.rules.upload_limits import UploadLimits

_ABOUT = """\
A shared endpoint for image edits that speaks the OpenAI image API: it never pays twice for the \
same picture, and never lets a team spend more than it has.

Every GET is answered to HEAD as well, and a trailing slash makes no difference. A path that is \
none of these is `not_found`, a method that is none of its path's `method_not_allowed`; \
`x-refusals` has every code with its status."""


def document(settings: Settings) -> Mapping[str, object]:
    """OpenAPI 3.1. `/admin/v1` is in it where it is switched on."""
    administered = bool(settings.admin.token.get_secret_value())
    limits = UploadLimits(
        max_body_bytes=settings.limits.max_body_bytes,
        max_image_bytes=settings.limits.max_image_bytes,
        picture_formats=settings.picture_formats,
    )
    public, public_schemas = public_operations(limits)
    administration, admin_schemas = admin_operations() if administered else ({}, {})
    paths, responses = _shared({**public, **administration})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image-edit gateway", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {**_SCHEMES, **(_ADMIN if administered else {})},
            "headers": HEADERS,
            "responses": responses,
            "schemas": {**SCHEMAS, **public_schemas, **admin_schemas},
        },
        "x-refusals": {
            code: {"status": kind.status, "type": kind.type, "retry": kind.retry.value}
            for code, kind in KINDS.items()
        },
    }


def _shared(paths: Operations) -> tuple[Operations, Mapping[str, object]]:
    """The operations with references in place of their refusals, and the refusals by name."""
    names: dict[str, str] = {}

    def reference(status: str, response: object) -> Schema:
        text = json.dumps(response, sort_keys=True)
        if text not in names:
            alike = sum(name.startswith(f"Refused{status}") for name in names.values())
            names[text] = f"Refused{status}" + (f"-{alike + 1}" if alike else "")
        return {"$ref": f"#/components/responses/{names[text]}"}

    def without(operation: Operation) -> Operation:
        responses = operation["responses"].items()
        kept = {
            status: response if status.startswith("2") else reference(status, response)
            for status, response in responses
        }
        return {**operation, "responses": kept}

    found = {
        path: {method: without(each) for method, each in operations.items()}
        for path, operations in paths.items()
    }
    return found, {name: json.loads(text) for text, name in names.items()}


def _bearer(description: str) -> Schema:
    return {"type": "http", "scheme": "bearer", "description": description}


_SCHEMES: Mapping[str, Schema] = {
    "key": _bearer("A team's API key."),
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key", "description": "The same."},
    "metrics": _bearer("The token of [metrics] token; without one, loopback alone may read."),
}
_ADMIN: Mapping[str, Schema] = {
    "admin": _bearer("The root token, or one made by `gateway tokens create`.")
}
