"""Azure OpenAI: OpenAI's forms at the path of a deployment, with `api-version` and `api-key`.

It follows Microsoft's reference of `/openai/deployments/{deployment-id}/images/edits` (its source
at commit 29ee1a2 of 2025-04, api-version 2025-04-01-preview) and its page "How to use Azure OpenAI
image generation models" (a copy of 2025-2026: models, sizes, no answers by address). The texts of
refusals are of memory.

A deployment is named by whoever makes it: `img-prod` is one of gpt-image-1, `img-mini` one of
gpt-image-1-mini. The data plane has no list of deployments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.emulator.catalogue import Model
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import (
    Asked,
    Parts,
    Route,
    as_texts,
    read_document,
    read_multipart,
)
from gateway.emulator.wires.openai import GPT_IMAGE_MODELS, OpenAI, openai_request
from gateway.emulator.wires.wire import ModelNamed

_IMAGE_1, _IMAGE_1_MINI, _ = GPT_IMAGE_MODELS


class Azure(OpenAI):
    """The path's deployment is the model, whatever the field `model` says."""

    base_path = ""
    routes: ClassVar[Mapping[str, Route | None]] = {
        "/openai/deployments/{deployment}/images/edits": "edits",
        "/openai/deployments/{deployment}/images/generations": "generations",
    }
    models_path = ""
    models: ClassVar[tuple[Model, ...]] = (
        replace(_IMAGE_1, id="img-prod"),
        replace(_IMAGE_1_MINI, id="img-mini"),
    )

    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        if not request.query_params.get("api-version"):
            raise Refused(404, "404", "Resource not found")
        model = model_named(request.path_params["deployment"])
        if route == "edits":
            parts = await read_multipart(request)
        else:
            parts = Parts(as_texts(await read_document(request)))
        return openai_request(route or "edits", model, parts)

    def key(self, headers: Mapping[str, str]) -> str:
        return headers.get("api-key", "")

    def wrong_key(self) -> Refused:
        message = (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription."
        )
        return Refused(401, "401", message)

    def no_such_model(self, name: str) -> Refused:
        message = "The API deployment for this resource does not exist."
        return Refused(404, "DeploymentNotFound", message)

    def policy_violation(self) -> Refused:
        message = "Your task failed as a result of our safety system."
        return Refused(400, "contentFilter", message)

    def refusal(self, refused: Refused) -> Response:
        """Code and message alone."""
        return refused.as_json({"error": {"code": refused.code, "message": refused.message}})
