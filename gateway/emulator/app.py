"""The emulator as an ASGI application: its routes, its request ids, its refusals."""

from __future__ import annotations

from typing import cast
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.emulator.calls import CallEndpoint
from gateway.emulator.control import ControlEndpoints
from gateway.emulator.emulator import Emulator
from gateway.emulator.refusals import Refused, told_to_fail
from gateway.emulator.settings import EmulatorSettings

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def create_app(settings: EmulatorSettings | None = None) -> Starlette:
    """An emulator of its own, with empty books; `app.state.emulator` is its inside."""
    emulator = Emulator(settings or EmulatorSettings())
    models = ModelsEndpoints(emulator)
    app = Starlette(
        routes=[
            Route("/v1/images/edits", CallEndpoint(emulator, "edits"), methods=["POST"]),
            Route(
                "/v1/images/generations", CallEndpoint(emulator, "generations"), methods=["POST"]
            ),
            Route("/v1/models", models.list),
            Route("/v1/models/{id:path}", models.one),
            *ControlEndpoints(emulator).routes(),
        ],
        middleware=[Middleware(RequestIds)],
        exception_handlers={
            Refused: refused,
            HTTPException: not_served,
            ClientDisconnect: nobody_listens,
            Exception: broken,
        },
    )
    app.state.emulator = emulator
    return app


class ModelsEndpoints:
    """The catalogue, for callers with a key."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def list(self, request: Request) -> Response:
        self._admit(request)
        items = [model.item() for model in self._emulator.models]
        return JSONResponse({"object": "list", "data": items})

    async def one(self, request: Request) -> Response:
        self._admit(request)
        wanted = request.path_params["id"]
        for model in self._emulator.models:
            if model.id == wanted:
                return JSONResponse(model.item())
        raise Refused(404, "model_not_found", f"The model '{wanted}' does not exist.", "model")

    def _admit(self, request: Request) -> None:
        self._emulator.books.models_calls += 1
        knobs = self._emulator.faults.for_models(request.headers)
        self._emulator.credential(request.headers)
        if knobs.models_status is not None:
            raise told_to_fail(knobs.models_status, knobs.retry_after)


class RequestIds:
    """Gives every request an id of its own, and every answer the header that tells it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_emu_{uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


async def refused(request: Request, exc: Exception) -> Response:
    refusal = cast(Refused, exc)
    return Response(refusal.body(), refusal.status, refusal.headers(), "application/json")


async def not_served(request: Request, exc: Exception) -> Response:
    """The framework's own refusals (no such path, no such method, broken multipart)."""
    error = cast(HTTPException, exc)
    answer = Refused(
        error.status_code, _CODES.get(error.status_code, "invalid_multipart"), error.detail
    )
    return Response(answer.body(), answer.status, error.headers, "application/json")


async def nobody_listens(request: Request, exc: Exception) -> Response:
    """The client left in the middle of its upload: nothing is served, nothing billed."""
    return Response(status_code=400)


async def broken(request: Request, exc: Exception) -> Response:
    """A mistake of the emulator's own; the server logs it."""
    answer = Refused(500, "internal_error", "The emulator is broken.")
    return Response(answer.body(), 500, media_type="application/json")
