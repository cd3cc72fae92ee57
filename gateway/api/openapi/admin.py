"""The operations of `/admin/v1`, from its table of routes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from gateway.api.admin import PREFIX
from gateway.api.admin.permissions import Role
from gateway.api.admin.routes import ROUTES, AdminRoute, CacheRoute
from gateway.api.openapi.refusals import answered, refusals
from gateway.api.openapi.schemas import (
    Operation,
    Schema,
    answer_schemas,
    input_schema,
    path_parameters,
)

_ALWAYS = (
    "invalid_api_key", "too_many_failures", "permission_denied", "invalid_field",
    "duplicate_field", "state_unavailable",
)  # fmt: skip
_OF_BODIES = ("invalid_json", "body_too_large", "upload_timeout", "conflict")
_HEADERS = ("X-Request-Id", "Cache-Control")


def operations() -> tuple[Mapping[str, Mapping[str, Operation]], Schema]:
    """By path and method, and the schemas that their answers use."""
    answers, components = answer_schemas({name: row.answer for name, row in ROUTES.items()})
    found: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for route, row in ROUTES.items():
        method, path = route.split()
        found[f"{PREFIX}{path}"][method.lower()] = _operation(method, path, row, answers[route])
    return found, components


def _operation(method: str, path: str, row: AdminRoute, answer: Schema) -> Operation:
    codes = (
        *_ALWAYS,
        *row.codes,
        *(() if method == "GET" else _OF_BODIES),
        *(("results_unavailable",) if isinstance(row, CacheRoute) else ()),
    )
    roles = [
        f"{role.value} (its own team only)" if role is Role.TEAM else role.value
        for role in row.roles
    ]
    operation: Operation = {
        "operationId": row.name,
        "summary": row.summary,
        "description": f"For {', '.join(roles)}.",
        "tags": ["administration"],
        "security": [{"admin": []}],
        "parameters": [
            *path_parameters(path),
            *(
                {"name": name, "in": "query", "schema": schema}
                for name, schema in input_schema(row.query).get("properties", {}).items()
            ),
        ],
        "responses": {
            str(row.status): answered("Done.", answer, _HEADERS),
            **refusals(codes),
        },
    }
    if method in ("POST", "PATCH"):
        body = input_schema(row.body)
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": bool(body["required"]), "content": content}
    return operation
