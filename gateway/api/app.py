"""The ASGI app: routing, the lifespan, and the end of every request that raises."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from gateway.api.admin import PATHS, PREFIX, AdminApi, AdminCalls
from gateway.api.asynchronous import AnswerEndpoints
from gateway.api.cors import CorsPolicy
from gateway.api.images import ImageEndpoints
from gateway.api.key import KeyEndpoints
from gateway.api.models import ModelEndpoints
from gateway.api.openapi.document import document
from gateway.api.operating import OperatingEndpoints
from gateway.api.pictures import PictureEndpoints
from gateway.api.responses import (
    JSON,
    SHUTTING_DOWN,
    Endpoint,
    accepts_gzip,
    compressed,
    refusal_of,
    refuse,
)
from gateway.api.routes import PUBLIC_ROUTES, Endpoints
from gateway.api.sandbox import Sandbox
from gateway.database.clock import Clock
from gateway.database.ids import new_id
from gateway.edits.purchase import INTERNAL
from gateway.runtime.container import Container
from gateway.runtime.lifespan import running
from gateway.server.allocator import keep_large_blocks
from gateway.server.exchange import ClientDisconnected, Exchange
from gateway.settings import Settings
from gateway.telemetry.log import EventLog, silence_library_logs
from gateway.telemetry.metrics import take_worker_slot

DRAINED_BODIES = 4
"""How many of the largest bodies are read and dropped behind a refusal, so that it is seen: what
is refused for its size is larger than one."""


RoutesOf = Callable[[Container, AdminCalls, Sandbox], Sequence[BaseRoute]]
"""The routes of a package that stands above this one."""


def no_routes(parts: Container, calls: AdminCalls, sandbox: Sandbox) -> Sequence[BaseRoute]:
    return ()


class Gateway:
    """The gateway as an ASGI app; its lifespan starts and stops the parts."""

    def __init__(
        self, parts: Container, more_routes: RoutesOf = no_routes, sandbox_folder: str = ""
    ) -> None:
        self.parts = parts
        self._settings, self._log = parts.context.settings, parts.context.log
        self._calls = AdminCalls(
            parts.context, parts.cache.results, parts.cache.answers, parts.edits.request_status
        )
        self._admin = AdminApi(parts.context, self._calls)
        origins = self._settings.server.cors_origins
        self._cors = CorsPolicy(frozenset(origins)) if origins else None
        self.sandbox = Sandbox(
            parts, sandbox_folder, lambda sandbox: Router(self._public_routes(sandbox))
        )
        self._router = Router(
            [
                *self._public_routes(parts),
                *(route_to(f"{PREFIX}{path}", self._admin.endpoint(path)) for path in PATHS),
                route_to("/admin", self._admin.not_found),
                route_to("/admin/{rest:path}", self._admin.not_found),
                *more_routes(parts, self._calls, self.sandbox),
            ],
            redirect_slashes=False,
            lifespan=self._lifespan,
        )

    def _public_routes(self, parts: Container) -> list[Route]:
        endpoints = self._endpoints(parts)
        return [
            route_to(route.split()[1], row.endpoint(endpoints), route.split()[:1])
            for route, row in PUBLIC_ROUTES.items()
        ]

    def _endpoints(self, parts: Container) -> Endpoints:
        context = parts.context
        cache, edits, operation = parts.cache, parts.edits, parts.operation
        return Endpoints(
            images=ImageEndpoints(parts),
            models=ModelEndpoints(
                edits.pipeline,
                parts.catalogues,
                context.prices,
                lambda: parts.budgets.service.today,
            ),
            answers=AnswerEndpoints(edits.pipeline, cache.answers, cache.links),
            key=KeyEndpoints(context, edits.pipeline, edits.request_status),
            pictures=PictureEndpoints(
                cache.links, cache.results, cache.answers.store, context.clock
            ),
            operating=OperatingEndpoints(context, operation),
            describe=self._describe,
        )

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[Mapping[str, object]]:
        async with running(self.parts):
            try:
                yield {"drain": self.parts.operation.shutdown}
            finally:
                await self._calls.close()
                await self.sandbox.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        if scope["path"].endswith("/") and scope["path"].strip("/"):
            scope["path"] = scope["path"][:-1]
        server = self._settings.server
        exchange = scope["exchange"] = Exchange(
            scope,
            receive,
            send,
            request_id=new_id("req_"),
            stall_seconds=server.upload_stall_seconds,
            upload_seconds=server.upload_seconds,
            drain_bytes=DRAINED_BODIES * self._settings.limits.max_body_bytes,
        )
        self._log.bind(request_id=exchange.request_id)
        try:
            if self._cors is not None and await self._cors.apply(exchange):
                return
            if self._is_for_sandbox(exchange):
                await self.sandbox.serve(exchange, scope, receive, send)
            else:
                await self._router(scope, receive, send)
        except ClientDisconnected:
            return  # there is nobody to answer
        except asyncio.CancelledError:
            await refuse(exchange, replace(SHUTTING_DOWN))
        except Exception as error:  # noqa: BLE001 - a client never sees a traceback
            refusal = refusal_of(error, exchange)
            if refusal is None:
                self._log.error("a request crashed", error, path=exchange.path)
            more = error.headers if isinstance(error, HTTPException) else None
            await refuse(exchange, refusal or INTERNAL, more)

    def _is_for_sandbox(self, exchange: Exchange) -> bool:
        """While it shuts down, the gateway itself refuses what sandbox keys send."""
        if not exchange.path.startswith("/v1/") or self.parts.operation.shutdown.in_progress:
            return False
        return self.sandbox.is_asked(exchange)

    @functools.cached_property
    def _description(self) -> tuple[bytes, bytes]:
        """Plain and compressed, once for all: it takes longer than the rest of a start."""
        body = json.dumps(document(self._settings)).encode()
        return body, compressed(body)

    async def _describe(self, exchange: Exchange) -> None:
        body, smaller = await asyncio.to_thread(lambda: self._description)
        headers = {"content-type": JSON, "vary": "Accept-Encoding"}
        if accepts_gzip(exchange):
            headers["content-encoding"], body = "gzip", smaller
        await exchange.answer(200, headers, body)


def create_app(
    settings: Settings,
    log: EventLog | None = None,
    *,
    metrics_folder: str = "",
    clock: Clock | None = None,
    more_routes: RoutesOf = no_routes,
) -> Gateway:
    """Settings in, app out. Called in the process that serves.

    `metrics_folder` is where several such processes keep their metrics together, and share what
    their sandboxes keep.
    """
    silence_library_logs()
    keep_large_blocks()  # of a worker's process, which no command has begun
    if log is None:
        log = EventLog(format=settings.log.format, level=settings.log.level)
        log.capture_library_logs()
    slot = take_worker_slot(metrics_folder) if metrics_folder else None
    sandbox_folder = metrics_folder and f"{metrics_folder}/sandbox"
    return Gateway(Container(settings, log, slot, clock), more_routes, sandbox_folder)


class _Asgi:
    """An endpoint that answers through the exchange. A class, so that a route takes it as ASGI."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope["exchange"])


def route_to(path: str, endpoint: Endpoint, methods: list[str] | None = None) -> Route:
    """A route; without methods its endpoint takes any, and refuses those it doesn't."""
    return Route(path, _Asgi(endpoint), methods=methods)
