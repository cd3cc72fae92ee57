"""Answers of the protocol itself, and the end of a connection behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.database.ids import new_id
from gateway.model.errors import Refusal, Retry
from gateway.server.protocol.request_head import ALLOWED

LINGER_SECONDS = 2.0
"""The time between the end of our side and closing the socket."""


def refusal_response(refusal: Refusal, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole HTTP response; `headers` are added to it."""
    body = json.dumps(refusal.envelope()).encode()
    own = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": new_id("req_"),
        "x-gateway-error-source": refusal.source,
    }
    if refusal.kind.retry is Retry.YES:
        own["x-should-retry"] = "true"
        own["retry-after"] = str(round(refusal.retry_after_seconds or 1))
    lines = [name.encode() + b": " + value.encode() for name, value in own.items()]
    lines += [name + b": " + value for name, value in headers]
    return STATUS_LINE[refusal.status] + b"\r\n".join(lines) + b"\r\n\r\n" + body


def abort_once_sent(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    """Abort a connection after its last byte has left and the client had time to read it."""

    def check() -> None:
        if transport.get_write_buffer_size():  # which `AnswerTimeout` ends
            loop.call_later(LINGER_SECONDS, check)
        else:
            transport.abort()

    loop.call_later(LINGER_SECONDS, check)


def too_many_connections(whose: str) -> Refusal:
    return Refusal(
        "overloaded",
        f"The gateway has reached its limit of connections{whose}; nothing was charged. "
        "Try again shortly.",
        retry_after_seconds=1,
    )


async def answer_server_options(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `OPTIONS *`, which asks about the server as a whole."""
    headers = [(b"allow", ALLOWED), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
