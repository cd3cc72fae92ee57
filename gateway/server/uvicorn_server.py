"""uvicorn's server with the gateway's signals and graceful shutdown."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from gateway.server.graceful_shutdown import GracefulShutdown, drain, stop_accepting
from gateway.server.protocol.connection import ServerConfig

TURN_SECONDS = 0.0002
"""How long a thread that computes, such as of a report or a page, keeps the event loop waiting.

By default it is 5 ms, several times for each request: with five people at the console the p99 of
hits was twice as long (measured)."""


class GatewayServer(uvicorn.Server):
    """The first signal begins the graceful shutdown.

    A second SIGTERM has no effect, since a service manager may send it to every process of a
    group whose parent passes it on too; a SIGINT after the first signal ends the waiting.
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, on_started: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._aborted = False
        self._own_process = False
        self.retiring = False
        """Only this process of several stops: it accepts no connection while it drains."""

    def run_until_stopped(self, listener: socket.socket) -> None:
        """Serve on this socket; requires the main thread of a process of its own."""
        # uvicorn raises the signal again once it has stopped, which must not end the process.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, self.handle_exit)
        self._own_process = True
        self.run(sockets=[listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._own_process:
            # Exempt the objects that stay for good: a full collection took 40 ms (measured).
            gc.collect()
            gc.freeze()
            sys.setswitchinterval(TURN_SECONDS)
        if self.started and self._on_started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif sig == signal.SIGINT:
            self.abort()

    def abort(self) -> None:
        """Wait no longer for the work in progress."""
        self._aborted = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        shutdown: GracefulShutdown | None = self.lifespan.state.get("drain")
        if shutdown:
            if self.retiring:
                stop_accepting(self)
            await drain(shutdown, self, lambda: self._aborted)
        await super().shutdown(sockets)
