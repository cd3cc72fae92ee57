"""The ASGI app: routes, and the one place where a refusal becomes an HTTP response."""

from __future__ import annotations

import asyncio
import functools
import hmac
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.api.admin import PATHS, AdminApi
from gateway.api.admin import PREFIX as ADMIN
from gateway.api.openapi.document import document
from gateway.api.response_headers import refusal_headers, reply_headers, stream_headers
from gateway.database.clock import Clock
from gateway.database.ids import new_id
from gateway.edits.edit_request import Incoming, Reply
from gateway.edits.purchase import INTERNAL
from gateway.model.edit import Route
from gateway.model.errors import Refusal
from gateway.queries.key_status import key_status
from gateway.runtime.container import Container
from gateway.runtime.lifespan import running
from gateway.server.allocator import keep_large_blocks
from gateway.server.disconnect import ClientDisconnected
from gateway.server.exchange import Exchange
from gateway.settings import Settings
from gateway.telemetry.log import EventLog, silence_library_logs
from gateway.telemetry.metrics import take_worker_slot
from gateway.telemetry.request_record import RequestRecord
from gateway.upstream.rules.catalogue_parser import Listing
from gateway.upstream.rules.model_limits import may_use
from gateway.wire.events import error_event

JSON = "application/json"


class Gateway:
    """The gateway as an ASGI app; its lifespan starts and stops the parts."""

    def __init__(self, parts: Container) -> None:
        self.parts = parts
        self.context = context = parts.context
        self._admin = AdminApi(
            context.settings, context.database, parts.cache.results, context.clock, context.log
        )
        self._wrong_tokens = GuessThrottle()
        self._router = Router(
            [
                _path("/v1/images/edits", self._edits, "POST"),
                _path("/v1/images/generations", self._generations, "POST"),
                _path("/v1/models", self._models, "GET"),
                _path("/v1/models/{model:path}", self._model, "GET"),
                _path("/v1/key", self._key, "GET"),
                _path("/v1/requests/{id}", self._request, "GET"),
                _path("/healthz", self._healthz, "GET"),
                _path("/readyz", self._readyz, "GET"),
                _path("/metrics", self._metrics, "GET"),
                _path("/openapi.json", self._openapi, "GET"),
                *(_path(f"{ADMIN}{path}", self._admin_path(path)) for path in PATHS),
                _path("/admin", self._admin_nothing),
                _path("/admin/{rest:path}", self._admin_nothing),
            ],
            redirect_slashes=False,
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[Mapping[str, object]]:
        async with running(self.parts):
            try:
                yield {"drain": self.parts.operation.shutdown}
            finally:
                await self._admin.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        server = self.context.settings.server
        exchange = scope["exchange"] = Exchange(
            scope,
            receive,
            send,
            request_id=new_id("req_"),
            stall_seconds=server.upload_stall_seconds,
            upload_seconds=server.upload_seconds,
            drain_bytes=DRAINED_BODIES * self.context.settings.limits.max_body_bytes,
        )
        self.context.log.bind(request_id=exchange.request_id)
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await self._refuse(exchange, _of_framework(error, scope), more=error.headers or {})
        except Refusal as refusal:
            await self._refuse(exchange, refusal)
        except ClientDisconnected:
            return  # nobody is left to be told
        except asyncio.CancelledError:
            await self._refuse(exchange, replace(SHUTTING_DOWN))
        except Exception as error:  # noqa: BLE001 - a client never sees a traceback
            self.context.log.error("a request crashed", error, path=scope["path"])
            await self._refuse(exchange, INTERNAL)

    async def _refuse(
        self,
        exchange: Exchange,
        refusal: Refusal,
        trace: RequestRecord | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        body = refusal.body or json.dumps(refusal.envelope()).encode()
        if exchange.started:
            # Left unfinished after this, so that the client sees that something is missing.
            await exchange.send(error_event(body))
        if exchange.answered:
            return
        headers = {**(more or {}), **refusal_headers(refusal, trace, exchange.request_id)}
        await exchange.answer(refusal.status, headers, body)

    # --- images -----------------------------------------------------------------------

    async def _edits(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        await self._image("edits", exchange)

    async def _generations(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        await self._image("generations", exchange)

    async def _image(self, route: Route, exchange: Exchange) -> None:
        spans, path = self.context.spans, f"/v1/images/{route}"
        facts = {
            "http.request.method": "POST",
            "http.route": path,
            "gateway.request_id": exchange.request_id,
        }
        with spans.request(f"POST {path}", exchange.headers, facts) as span:
            trace = RequestRecord(exchange.request_id, route, spans, trace_id=spans.trace_id)
            if trace.trace_id:
                self.context.log.bind(trace_id=trace.trace_id)
            await self._serve_image(exchange, trace)
            span.set_attributes(trace.facts())
            if trace.status >= 500:
                span.fail(trace.code)

    async def _serve_image(self, exchange: Exchange, trace: RequestRecord) -> None:
        self.parts.edits.recorder.begin(trace)
        try:
            if self.parts.operation.shutdown.in_progress:
                raise replace(SHUTTING_DOWN)
            await self.parts.edits.pipeline.serve(self._incoming(exchange, trace), trace)
        except Refusal as refusal:
            trace.refuse(refusal)
            self._say_what_is_left(trace)
            await self._refuse(exchange, refusal, trace)
        except ClientDisconnected:
            trace.client_left()
        except asyncio.CancelledError:
            # The server has to end and waits no longer for those who wait. The flight is not
            # theirs: it ends when the upstream's connections are closed, and is booked then.
            exchange.shorten_drain()
            if exchange.answered and not exchange.started:
                trace.client_left()  # before it has taken the whole of its answer
                return
            told = replace(CUT_SHORT if trace.fingerprint else SHUTTING_DOWN)
            trace.refuse(told)
            await self._refuse(exchange, told, trace)
        except Exception as error:  # noqa: BLE001 - a client never sees a traceback
            self.context.log.error("a request crashed", error)
            trace.refuse(INTERNAL)
            await self._refuse(exchange, INTERNAL, trace)
        finally:
            self.parts.edits.recorder.record(trace)

    def _incoming(self, exchange: Exchange, trace: RequestRecord) -> Incoming:
        async def begin(head: Reply) -> None:
            await exchange.start(head.status, stream_headers(head, trace))

        async def answer(reply: Reply) -> None:
            self._say_what_is_left(trace)
            if exchange.started:
                await exchange.finish(reply.body)
            else:
                await exchange.answer(reply.status, reply_headers(reply, trace), reply.body)

        return Incoming(
            route=trace.route,
            headers=exchange.headers,
            address=exchange.address,
            chunks=exchange.chunks,
            gone=exchange.wait_for_disconnect,
            begin=begin,
            send=exchange.send,
            answer=answer,
        )

    def _say_what_is_left(self, trace: RequestRecord) -> None:
        """What the key can spend, as last read: a hit does not wait for the state to tell it."""
        if trace.caller and trace.remaining_nanos is None:
            trace.remaining_nanos = self.parts.budgets.service.remaining(trace.caller.key_id)

    # --- models -----------------------------------------------------------------------

    async def _models(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        items = await self._usable_models(exchange)
        await _answer_json(exchange, {"object": "list", "data": list(items.values())})

    async def _model(self, exchange: Exchange, parameters: Mapping[str, str]) -> None:
        items = await self._usable_models(exchange)
        model = parameters["model"]
        if model not in items:
            raise Refusal(
                "model_not_found",
                f"There is no model {model!r} that this key may use; GET /v1/models lists them.",
                param="model",
            )
        await _answer_json(exchange, items[model])

    async def _usable_models(self, exchange: Exchange) -> Mapping[str, Mapping[str, Any]]:
        caller = await self.parts.edits.pipeline.caller_asking(exchange.headers, exchange.address)
        catalogue = self.parts.upstream.catalogue
        if catalogue.listing is None:
            await catalogue.refresh()
        listing: Listing | None = catalogue.listing
        if listing is None:
            raise Refusal(
                "upstream_unreachable",
                "The list of models has never been had from the upstream; try again shortly.",
                retry_after_seconds=5,
            )
        return {
            name: item for name, item in listing.items.items() if may_use(name, caller.accounts)
        }

    # --- key and requests -------------------------------------------------------------

    async def _key(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        context = self.context
        caller = await self.parts.edits.pipeline.caller_asking(exchange.headers, exchange.address)
        zone = context.settings.zone
        status = await key_status(
            caller, database=context.database, zone=zone, now_ms=context.clock()
        )
        await _answer_json(exchange, status.document())

    async def _request(self, exchange: Exchange, parameters: Mapping[str, str]) -> None:
        caller = await self.parts.edits.pipeline.caller_asking(exchange.headers, exchange.address)
        status = await self.parts.edits.request_status.read(parameters["id"], caller)
        await _answer_json(exchange, status.document())

    # --- administration ---------------------------------------------------------------

    def _admin_path(self, path: str) -> Endpoint:
        async def handle(exchange: Exchange, parameters: Mapping[str, str]) -> None:
            status, answer = await self._admin.answer(path, exchange, parameters)
            # It may hold a secret, or be out of date in a moment.
            await _answer_json(exchange, answer.document(), status, {"cache-control": "no-store"})

        return handle

    async def _admin_nothing(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        await self._admin.not_found(exchange)

    # --- operating --------------------------------------------------------------------

    async def _healthz(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        await _answer_json(exchange, {"status": "ok"})

    async def _readyz(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        if self.parts.operation.shutdown.in_progress:
            await _answer_json(exchange, {"status": "draining"}, status=503)
            return
        degraded = self.parts.operation.readiness.degraded()
        await _answer_json(exchange, {"status": "ready", "degraded": degraded})

    @functools.cached_property
    def _description(self) -> bytes:
        """Built for the first reader: it takes longer than the rest of a start."""
        return json.dumps(document(self.context.settings)).encode()

    async def _openapi(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        body = await asyncio.to_thread(lambda: self._description)
        headers = {"content-type": JSON, "x-request-id": exchange.request_id}
        await exchange.answer(200, headers, body)

    async def _metrics(self, exchange: Exchange, _: Mapping[str, str]) -> None:
        self._check_may_read_metrics(exchange)
        self.parts.operation.gauges.update_process()
        accept = exchange.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(self.context.metrics.exposition, accept)
        headers = {"content-type": content_type, "x-request-id": exchange.request_id}
        await exchange.answer(200, headers, body)

    def _check_may_read_metrics(self, exchange: Exchange) -> None:
        token = self.context.settings.metrics.token.get_secret_value()
        if token:
            self._wrong_tokens.check(exchange.address, self.context.clock())
            sent = exchange.headers.get("authorization", "").removeprefix("Bearer ")
            allowed = hmac.compare_digest(sent.encode(), token.encode())
        else:
            allowed = _is_loopback(exchange)
        if not allowed:
            self._wrong_tokens.failed(exchange.address, self.context.clock())
            raise Refusal(
                "permission_denied",
                "Metrics are read with the token of [metrics] token, or without one from this "
                "machine alone.",
            )


DRAINED_BODIES = 4
"""How many of the largest bodies are read and dropped behind a refusal, so that it is seen: what
is refused for its size is larger than one."""
SHUTTING_DOWN = Refusal(
    "shutting_down",
    "The gateway is shutting down; nothing was charged. Try again: another one answers, or this "
    "one when it is back.",
    retry_after_seconds=2,
)
CUT_SHORT = Refusal(
    "upstream_timeout",
    "The gateway had to stop before this edit was done. It may have been charged; ask again only "
    "if you would pay for it twice.",
)


def create_app(
    settings: Settings,
    log: EventLog | None = None,
    *,
    metrics_folder: str = "",
    clock: Clock | None = None,
) -> Gateway:
    """Settings in, app out. Called in the process that serves.

    `metrics_folder` is where several such processes keep their metrics together.
    """
    silence_library_logs()
    keep_large_blocks()  # of a worker's process, which no command has begun
    written = log
    if written is None:
        written = EventLog(format=settings.log.format, level=settings.log.level)
        written.capture_library_logs()
    slot = take_worker_slot(metrics_folder) if metrics_folder else None
    return Gateway(Container(settings, written, slot, clock))


Endpoint = Callable[[Exchange, Mapping[str, str]], Awaitable[None]]


class _Asgi:
    """An endpoint that answers through the exchange. A class, so that a route takes it as ASGI."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope["exchange"], scope["path_params"])


def _path(pattern: str, endpoint: Endpoint, method: str | None = None) -> Path:
    """A route; without a method its endpoint takes any, and refuses those it doesn't."""
    return Path(pattern, _Asgi(endpoint), methods=[method] if method else None)


async def _answer_json(
    exchange: Exchange,
    document: object,
    status: int = 200,
    more: Mapping[str, str] | None = None,
) -> None:
    headers = {"content-type": JSON, "x-request-id": exchange.request_id, **(more or {})}
    await exchange.answer(status, headers, json.dumps(document).encode())


def _of_framework(error: HTTPException, scope: Scope) -> Refusal:
    """The framework's own 404 and 405 in our words."""
    method, path = scope["method"], scope["path"]
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "another method")
        return Refusal("method_not_allowed", f"{path} does not take {method}; use {allow}.")
    if error.status_code == 404:
        return Refusal(
            "not_found",
            f"There is nothing at {path[:200]!r}. A client's base_url ends in /v1; the routes are "
            "/v1/images/edits, /v1/images/generations and /v1/models, and /openapi.json has all.",
        )
    return Refusal("bad_request", str(error.detail), status_override=error.status_code)


def _is_loopback(exchange: Exchange) -> bool:
    """Did this come from this very machine, and not through a proxy that runs on it?"""
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip", "via"} & exchange.headers.keys()
    try:
        return not forwarded and ipaddress.ip_address(exchange.address).is_loopback
    except ValueError:
        return False
