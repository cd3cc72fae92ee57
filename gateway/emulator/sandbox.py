"""The emulator of sandbox keys: a program that a gateway starts, every interface on one socket.

    python -m gateway.emulator.sandbox LISTENER MEMORY_BYTES

LISTENER is the descriptor of the socket. The gateway writes the API key to standard input, which
stays open until the gateway ends, and reads a line from standard output when this one serves.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading

import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.emulator.app import create_app
from gateway.emulator.emulator import EmulatorSettings
from gateway.emulator.sockets import ReachableProtocol
from gateway.emulator.wires import WIRES


class Interfaces:
    """Every interface at once: `/NAME` is in place of what its base URL has behind the origin."""

    def __init__(self, api_key: str) -> None:
        self._apps = {
            name: create_app(EmulatorSettings((api_key,), api=name, sandbox=True)) for name in WIRES
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, rest = scope["path"].removeprefix("/").partition("/")
        path = f"{WIRES[name].base_path}/{rest}"
        await self._apps[name]({**scope, "path": path, "raw_path": path.encode()}, receive, send)


def main(listener: str, memory_bytes: str) -> None:
    """Serve until the gateway ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    api_key = sys.stdin.readline().strip()
    threading.Thread(target=_end_with_gateway, daemon=True).start()
    config = uvicorn.Config(
        Interfaces(api_key),
        http=ReachableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
    )
    print("serving", flush=True)  # noqa: T201 - connections wait in the socket until it does
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(listener))])


def _end_with_gateway() -> None:
    while sys.stdin.read(1):
        continue
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
