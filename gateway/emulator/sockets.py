"""Breaking a connection for real, on the socket.

ASGI has no word for it, so the emulator's HTTP protocol puts its transport where an answer
can reach it.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "emulator.transport"


class ReachableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, its transport within reach of the application; logs no access."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}


async def hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """End the connection where it stands, by a TCP reset or an orderly close.

    Returns once the server knows it too, so that it does not answer in our stead. Raises
    RuntimeError where another server than the emulator's own serves the application.
    """
    extension = scope.get("extensions", {}).get(_TRANSPORT)
    if extension is None:
        raise RuntimeError("Only the emulator's own server can break a connection.")
    transport = extension["transport"]
    if transport.is_closing():
        # The client was faster; its descriptor may already be another connection's.
        pass
    elif reset:
        # To linger for no time at all makes the kernel send RST instead of FIN.
        no_lingering = struct.pack("ii", 1, 0)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)
        transport.abort()
    else:
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        continue
