"""The public routes, one row each: path, endpoint, permission, and description.

Routing (`app.py`) and `/openapi.json` follow from this table. A HEAD is answered where a GET is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gateway.api.admin.inputs import Body, BudgetRequestBody
from gateway.api.asynchronous import AnswerEndpoints
from gateway.api.images import ImageEndpoints
from gateway.api.key import KeyEndpoints
from gateway.api.models import ModelEndpoints
from gateway.api.openapi import images as pictures
from gateway.api.openapi import linked_pictures
from gateway.api.openapi.refusals import OF_ERRORS, answered, headers
from gateway.api.openapi.schemas import ANYTHING, TEXT, Operation, ref
from gateway.api.operating import HealthView, OperatingEndpoints, ReadinessView
from gateway.api.pictures import PictureEndpoints
from gateway.api.responses import Endpoint
from gateway.queries.models.budgets import GrantView
from gateway.queries.models.key_status import KeyStatusView
from gateway.queries.models.request_status import AcceptedView, RequestView
from gateway.uploads.rules.upload_limits import UploadLimits


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints of the public routes, by subject."""

    images: ImageEndpoints
    models: ModelEndpoints
    key: KeyEndpoints
    answers: AnswerEndpoints
    pictures: PictureEndpoints
    operating: OperatingEndpoints
    describe: Endpoint


@dataclass(frozen=True, slots=True)
class PublicRoute:
    """One method of one path.

    `security` names the schemes that permit it, "" is none. `answer` is a read model or a schema;
    `codes` are its refusals, besides those that any route may have. `more` describes the rest.
    `body` is the JSON that it takes, `status` that of success.
    """

    name: str
    summary: str
    tag: str
    endpoint: Callable[[Endpoints], Endpoint]
    security: tuple[str, ...] = ()
    answer: Any = None
    codes: tuple[str, ...] = ()
    error_headers: tuple[str, ...] = OF_ERRORS
    more: Callable[[UploadLimits], Operation] = lambda _: {}
    body: type[Body] | None = None
    status: int = 200


_KEY = ("key", "api-key")
_KEYED = (
    "invalid_api_key",
    "too_many_failures",
    "rate_limit_exceeded",
    "state_unavailable",
    "sandbox_unavailable",
)
_OF_MODELS = (*_KEYED, "upstream_unreachable")
_METRICS = {
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
PUBLIC_ROUTES: Mapping[str, PublicRoute] = MappingProxyType({
    "POST /v1/images/edits": PublicRoute(
        "editImage", "Edit pictures", "images", lambda on: on.images.edit, _KEY,
        codes=pictures.EDIT_CODES, error_headers=pictures.ERROR_HEADERS,
        more=pictures.describe_edit),
    "POST /v1/images/generations": PublicRoute(
        "generateImage", "Make pictures", "images", lambda on: on.images.generate, _KEY,
        codes=pictures.CODES, error_headers=pictures.ERROR_HEADERS,
        more=pictures.describe_generation),
    "GET /v1/models": PublicRoute(
        "listModels", "The models that the key may use", "models",
        lambda on: on.models.list_models, _KEY, ref("Models"), _OF_MODELS),
    "GET /v1/models/{model:path}": PublicRoute(
        "showModel", "One model that the key may use", "models",
        lambda on: on.models.show_model, _KEY, ref("Model"), (*_OF_MODELS, "model_not_found")),
    "GET /v1/key": PublicRoute(
        "showStanding", "The key's limits, what is used and left of each, and until when", "key",
        lambda on: on.key.show_key, _KEY, KeyStatusView, _KEYED),
    "POST /v1/key/requests": PublicRoute(
        "askForBudget", "Ask for more money on a budget of the key", "key",
        lambda on: on.key.ask_for_budget, _KEY, GrantView, body=BudgetRequestBody, status=201,
        codes=(*_KEYED, "missing_field", "invalid_field", "duplicate_field", "invalid_json",
               "body_too_large", "upload_timeout", "conflict",
               "permission_denied")),
    "GET /v1/requests/{id}": PublicRoute(
        "showRequest", "The status of a request of this key, and whether a retry is safe", "key",
        lambda on: on.key.show_request, _KEY, RequestView, (*_KEYED, "not_found")),
    "GET /v1/requests/{id}/result": PublicRoute(
        "showResult", "The answer to an asynchronous request of this key", "images",
        lambda on: on.answers.show, _KEY, AcceptedView,
        ("not_found", "answer_gone", "request_lost", "results_unavailable", *pictures.EDIT_CODES),
        more=pictures.describe_result, status=202),
    "GET /v1/pictures/{id}": PublicRoute(
        "showPicture", "A stored picture, by a link that answers to response_format=url give",
        "images", lambda on: on.pictures.show, ("",),
        codes=linked_pictures.CODES, more=linked_pictures.describe),
    "GET /healthz": PublicRoute(
        "showHealth", "The process is alive", "operating",
        lambda on: on.operating.show_health, answer=HealthView),
    "GET /readyz": PublicRoute(
        "showReadiness", "The gateway takes requests", "operating",
        lambda on: on.operating.show_readiness, answer=ReadinessView,
        more=lambda _: {"responses": {"503": _NOT_READY}}),
    "GET /metrics": PublicRoute(
        "showMetrics", "The gateway's metrics", "operating",
        lambda on: on.operating.show_metrics, ("metrics", ""),
        codes=("permission_denied", "too_many_failures"),
        more=lambda _: {"responses": {"200": _METRICS}}),
    "GET /openapi.json": PublicRoute(
        "showDescription", "This document", "operating", lambda on: on.describe, answer=ANYTHING),
})
# fmt: on
