"""The operations that only read: models, the key, a request, and those for operating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gateway.api.health import HealthView, ReadinessView
from gateway.api.openapi.refusals import Response, answered, headers, refusals
from gateway.api.openapi.schemas import (
    ANYTHING,
    TEXT,
    Operation,
    Schema,
    answer_schemas,
    path_parameters,
    ref,
)
from gateway.queries.models.key_status import KeyStatusView
from gateway.queries.models.request_status import RequestView

_KEYED = ("invalid_api_key", "too_many_failures", "rate_limit_exceeded", "state_unavailable")
_OF_MODELS = (*_KEYED, "upstream_unreachable")


@dataclass(frozen=True, slots=True)
class ReadRoute:
    """A GET. `answer` is a read model or a schema; `security` names the schemes, "" is none."""

    name: str
    summary: str
    answer: Any = None
    codes: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    tag: str = "operating"
    responses: Mapping[str, Response] = field(default_factory=dict)


_METRICS: Response = {
    "description": "The metrics, for Prometheus.",
    "headers": headers(["X-Request-Id"]),
    "content": {
        "text/plain": {"schema": TEXT},
        "application/openmetrics-text": {"schema": TEXT},
    },
}
_NOT_READY = answered(
    "It is draining, or has as many connections open as it can.",
    {"anyOf": [ref("Readiness"), ref("Error")]},
)

# fmt: off
READ_ROUTES: Mapping[str, ReadRoute] = MappingProxyType({
    "/v1/models": ReadRoute(
        "listModels", "The models that the key may use", ref("Models"), _OF_MODELS,
        ("key",), "models"),
    "/v1/models/{model}": ReadRoute(
        "showModel", "One model that the key may use", ref("Model"),
        (*_OF_MODELS, "model_not_found"), ("key",), "models"),
    "/v1/key": ReadRoute(
        "showStanding", "The key's limits, what is used and left of each, and until when",
        KeyStatusView, _KEYED, ("key",), "key"),
    "/v1/requests/{id}": ReadRoute(
        "showRequest", "The status of a request of this key, and whether a retry is safe",
        RequestView, (*_KEYED, "not_found"), ("key",), "key"),
    "/healthz": ReadRoute("showHealth", "The process is alive", HealthView),
    "/readyz": ReadRoute(
        "showReadiness", "The gateway takes requests", ReadinessView,
        responses={"503": _NOT_READY}),
    "/metrics": ReadRoute(
        "showMetrics", "The gateway's metrics",
        codes=("permission_denied", "too_many_failures"), security=("metrics", ""),
        responses={"200": _METRICS}),
    "/openapi.json": ReadRoute("showDescription", "This document", ANYTHING),
})
# fmt: on


def operations() -> tuple[Mapping[str, Mapping[str, Operation]], Schema]:
    """By path and method, and the schemas that their answers use."""
    views = {path: row.answer for path, row in READ_ROUTES.items() if isinstance(row.answer, type)}
    answers, components = answer_schemas(views)
    return {
        path: {"get": _operation(path, row, answers.get(path, row.answer))}
        for path, row in READ_ROUTES.items()
    }, components


def _operation(path: str, row: ReadRoute, answer: Schema | None) -> Operation:
    good = {} if answer is None else {"200": answered("The answer.", answer)}
    operation: Operation = {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.tag],
        "security": [{scheme: []} if scheme else {} for scheme in row.security],
        "responses": {**good, **row.responses, **refusals(row.codes)},
    }
    if parameters := path_parameters(path):
        operation["parameters"] = parameters
    return operation
