"""The operations that only read: models, the key, a request, and those for operating."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.api.openapi.refusals import Response, answered, headers, refusals
from gateway.api.openapi.shapes import ANYTHING, TEXT, Operation, Schema, ref

_KEYED = ("invalid_api_key", "too_many_failures", "rate_limit_exceeded", "state_unavailable")
_OF_MODELS = (*_KEYED, "upstream_unreachable")

OPERATIONS: Mapping[str, Mapping[str, Operation]]


def _operation(
    name: str,
    summary: str,
    answers: Mapping[str, Response],
    codes: Iterable[str] = (),
    *,
    parameter: str = "",
    security: Iterable[str] = (),
    tag: str = "key",
) -> Mapping[str, Operation]:
    """A GET; `security` names the schemes of which one is needed."""
    operation: Operation = {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "security": [{scheme: []} if scheme else {} for scheme in security],
        "responses": {**answers, **refusals(codes)},
    }
    if parameter:
        operation["parameters"] = [path_parameter(parameter)]
    return {"get": operation}


def path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _ok(description: str, schema: str) -> Mapping[str, Response]:
    return {"200": answered(description, ref(schema))}


_EXPOSED: Response = {
    "description": "The metrics, for Prometheus.",
    "headers": headers(["X-Request-Id"]),
    "content": {
        "text/plain": {"schema": TEXT},
        "application/openmetrics-text": {"schema": TEXT},
    },
}

OPERATIONS = {
    "/v1/models": _operation(
        "listModels",
        "The models that the key may use",
        _ok("The models.", "Models"),
        _OF_MODELS,
        security=["key"],
        tag="models",
    ),
    "/v1/models/{model}": _operation(
        "showModel",
        "One model that the key may use",
        _ok("The model.", "Model"),
        (*_OF_MODELS, "model_not_found"),
        parameter="model",
        security=["key"],
        tag="models",
    ),
    "/v1/key": _operation(
        "showStanding",
        "The key's limits, what is spent, held and left of them, and until when",
        _ok("How the key stands.", "Standing"),
        _KEYED,
        security=["key"],
    ),
    "/v1/requests/{id}": _operation(
        "showRequest",
        "What became of a request that this key has made, and is it safe to retry",
        _ok("What became of it.", "Request"),
        (*_KEYED, "not_found"),
        parameter="id",
        security=["key"],
    ),
    "/healthz": _operation(
        "showHealth", "The process lives", _ok("It does.", "Health"), tag="operating"
    ),
    "/readyz": _operation(
        "showReadiness",
        "The gateway takes requests",
        {
            "200": answered("It does.", ref("Readiness")),
            "503": answered("It ends, or has as many connections open as it can.", {
                "anyOf": [ref("Readiness"), ref("Error")],
            }),
        },
        tag="operating",
    ),
    "/metrics": _operation(
        "showMetrics",
        "What the gateway counts of itself",
        {"200": _EXPOSED},
        ("permission_denied", "too_many_failures"),
        security=["metrics", ""],
        tag="operating",
    ),
    "/openapi.json": _operation(
        "showDescription", "This document", {"200": answered("It.", ANYTHING)}, tag="operating"
    ),
}  # fmt: skip
