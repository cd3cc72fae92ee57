"""The operations of the two tables of routes: the public ones and `/admin/v1`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from pydantic import BaseModel

from gateway.api.admin import PREFIX
from gateway.api.admin.routes import (
    ROUTES,
    AdminRoute,
    ExportRoute,
    ResultsRoute,
    StatementRoute,
)
from gateway.api.admin.token_holder import Role
from gateway.api.openapi.refusals import answered, headers, refusals
from gateway.api.openapi.schemas import (
    TEXT,
    Operation,
    Schema,
    answer_schemas,
    input_schema,
)
from gateway.api.routes import PUBLIC_ROUTES, PublicRoute
from gateway.uploads.rules.upload_limits import UploadLimits

Operations = Mapping[str, Mapping[str, Operation]]
"""By path and method."""
_ALWAYS = (
    "invalid_api_key", "too_many_failures", "permission_denied", "invalid_field",
    "duplicate_field", "state_unavailable",
)  # fmt: skip
_OF_BODIES = ("invalid_json", "body_too_large", "upload_timeout", "conflict")
_HEADERS = ("X-Request-Id", "Cache-Control")
_STATEMENT: Schema = {
    "description": "The statement: CSV, JSON or JSON lines, whichever type is sent.",
    "required": True,
    "content": {
        kind: {"schema": TEXT} for kind in ("text/csv", "application/x-ndjson", "text/plain")
    },
}
_EXPORT: Schema = {
    "description": "The rows, sent as they are read: an answer that is cut short has no end.",
    "headers": headers([*_HEADERS, "Content-Disposition", "X-Gateway-Books-Closed"]),
    "content": {kind: {"schema": TEXT} for kind in ("text/csv", "application/x-ndjson")},
}


def public_operations(limits: UploadLimits) -> tuple[Operations, Schema]:
    """The operations, and the schemas that their answers use."""
    views = {
        route: row.answer for route, row in PUBLIC_ROUTES.items() if isinstance(row.answer, type)
    }
    answers, components = answer_schemas(views)
    return _by_path(
        {
            route.replace(":path", ""): _public(row, answers.get(route, row.answer), limits)
            for route, row in PUBLIC_ROUTES.items()
        }
    ), components


def admin_operations() -> tuple[Operations, Schema]:
    """The operations, and the schemas that their answers use."""
    answers, components = answer_schemas({route: row.answer for route, row in ROUTES.items()})
    return _by_path(
        {
            route.replace(" ", f" {PREFIX}"): _admin(route, row, answers[route])
            for route, row in ROUTES.items()
        }
    ), components


def _by_path(operations: Mapping[str, Operation]) -> Operations:
    found: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for route, operation in operations.items():
        method, path = route.split()
        named = [
            {"name": name, "in": "path", "required": True, "schema": TEXT}
            for name in re.findall(r"\{(\w+)\}", path)
        ]
        parameters = [*named, *operation.pop("parameters", ())]
        found[path][method.lower()] = {
            **operation,
            **({"parameters": parameters} if parameters else {}),
        }
    return found


def _public(row: PublicRoute, answer: Schema | None, limits: UploadLimits) -> Operation:
    more = row.more(limits)
    good = {} if answer is None else {str(row.status): answered("The answer.", answer)}
    refused = refusals(row.codes, row.error_headers)
    return {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.tag],
        "security": [{scheme: []} if scheme else {} for scheme in row.security],
        **({} if row.body is None else {"requestBody": _request_body(row.body)}),
        **more,
        "responses": {**good, **more.get("responses", {}), **refused},
    }


def _admin(route: str, row: AdminRoute, answer: Schema) -> Operation:
    has_body = route.startswith(("POST", "PATCH"))
    codes = (
        *_ALWAYS,
        *row.codes,
        *(() if route.startswith("GET") else _OF_BODIES),
        *(("results_unavailable",) if isinstance(row, ResultsRoute) else ()),
    )
    roles = [
        f"{role.value} (its own team only)" if role is Role.TEAM else role.value
        for role in row.roles
        if role is not Role.MEMBER  # no token has it
    ]
    query = input_schema(row.query).get("properties", {})
    operation: Operation = {
        "operationId": row.name,
        "summary": row.summary,
        "description": f"For {', '.join(roles)}.",
        "tags": ["administration"],
        "security": [{"admin": []}],
        "parameters": [
            {"name": name, "in": "query", "schema": schema} for name, schema in query.items()
        ],
        "responses": {str(row.status): answered("Done.", answer, _HEADERS), **refusals(codes)},
    }
    if row.csv:
        operation["responses"][str(row.status)]["content"]["text/csv"] = {"schema": TEXT}
    if isinstance(row, ExportRoute):
        operation["responses"]["200"] = _EXPORT
    if isinstance(row, StatementRoute):
        operation["requestBody"] = _STATEMENT
    elif has_body:
        operation["requestBody"] = _request_body(row.body)
    return operation


def _request_body(model: type[BaseModel]) -> Schema:
    body = input_schema(model)
    content = {"application/json": {"schema": body}}
    return {"required": bool(body["required"]), "content": content}
