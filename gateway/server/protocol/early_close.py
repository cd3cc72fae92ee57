"""Refusing a connection or a request before the app sees it, and closing without a reset.

To close a socket with unread bytes resets the connection, and the client loses the answer. Our
side is therefore ended first, and incoming bytes are dropped for a moment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.database.ids import new_id
from gateway.model.errors import Refusal, Retry

LINGER_SECONDS = 1.0
"""How long incoming bytes are dropped before the socket is closed."""


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


def close_after_answer(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    """End our side now, and abort the connection a moment later."""
    transport.write_eof()
    loop.call_later(LINGER_SECONDS, transport.abort)


def too_many_connections() -> Refusal:
    return Refusal(
        "overloaded",
        "The gateway has reached its limit of connections; nothing was charged. Try again shortly.",
        retry_after_seconds=1,
    )
