"""Answers sent in pieces, and connections broken on the socket.

ASGI can't break a connection, so the emulator's HTTP protocol passes its transport on.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Pieces = AsyncGenerator[bytes, None]
_TRANSPORT = "emulator.transport"


@dataclass
class HangUp(Exception):
    """End the connection here, by a TCP reset or by an orderly close."""

    reset: bool = True


class Delivery:
    """A 200 whose body comes in pieces; they may raise HangUp between two of them.

    Unlike Starlette's streaming response it goes on after the client has disconnected, so that
    the call ends, and is billed, all the same.
    """

    def __init__(self, pieces: Pieces, media_type: str, body_bytes: int | None = None) -> None:
        self._pieces = pieces
        self._headers = [(b"content-type", media_type.encode())]
        if body_bytes is not None:
            self._headers.append((b"content-length", b"%d" % body_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class ReachableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with its transport in the scope; logs no access."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}


async def hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Break the connection, and wait until the server knows it.

    Raises RuntimeError on any other server than the emulator's own.
    """
    extension = scope.get("extensions", {}).get(_TRANSPORT)
    if extension is None:
        raise RuntimeError("Only the emulator's own server can break a connection.")
    transport = extension["transport"]
    # A transport that closes may have lost its descriptor to another connection.
    if reset and not transport.is_closing():
        # Lingering for no time at all makes the kernel send RST instead of FIN.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        continue
