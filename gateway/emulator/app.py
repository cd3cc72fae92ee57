"""The emulator as an ASGI application: its routes, request ids and refusals."""

from __future__ import annotations

from collections.abc import Mapping
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
from gateway.emulator.control import control_routes
from gateway.emulator.emulator import Emulator, EmulatorSettings
from gateway.emulator.refusals import Refused, told_to_fail

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def create_app(settings: EmulatorSettings | None = None) -> Starlette:
    """An emulator of its own, with empty books, in `app.state.emulator`."""
    emulator = Emulator(settings or EmulatorSettings())
    wire = emulator.wire

    async def refused(request: Request, exc: Exception) -> Response:
        return wire.refusal(cast(Refused, exc))

    async def not_served(request: Request, exc: Exception) -> Response:
        """Starlette's own refusals (no such path, no such method, broken multipart)."""
        error = cast(HTTPException, exc)
        code = _CODES.get(error.status_code, "invalid_multipart")
        answer = wire.refusal(Refused(error.status_code, code, error.detail))
        answer.headers.update(error.headers or {})
        return answer

    app = Starlette(
        routes=[
            *(
                Route(path, CallEndpoint(emulator, route), methods=["POST"])
                for path, route in wire.routes.items()
            ),
            *_model_routes(emulator),
            *control_routes(emulator),
        ],
        middleware=[Middleware(RequestIds)],
        exception_handlers={
            Refused: refused,
            HTTPException: not_served,
            ClientDisconnect: _disconnected,
            Exception: _crashed,
        },
    )
    app.state.emulator = emulator
    return app


def _model_routes(emulator: Emulator) -> list[Route]:
    """The models, for callers with a key."""

    def admit(headers: Mapping[str, str]) -> None:
        emulator.books.models_calls += 1
        knobs = emulator.faults.for_models(headers)
        emulator.credential(headers)
        if knobs.models_status is not None:
            raise told_to_fail(knobs.models_status, knobs.retry_after)

    async def every(request: Request) -> Response:
        admit(request.headers)
        return JSONResponse(emulator.wire.listing())

    async def one(request: Request) -> Response:
        admit(request.headers)
        return JSONResponse(emulator.wire.item(emulator.model(request.path_params["id"])))

    path = emulator.wire.models_path
    return [Route(path, every), Route(f"{path}/{{id:path}}", one)] if path else []


class RequestIds:
    """Gives each request an id, and adds it to the answer's headers."""

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


async def _disconnected(request: Request, exc: Exception) -> Response:
    """The client disconnected during its upload: nothing is billed."""
    return Response(status_code=400)


async def _crashed(request: Request, exc: Exception) -> Response:
    """A defect of the emulator; the server logs it."""
    return Refused(500, "internal_error", "The emulator is broken.").response()
