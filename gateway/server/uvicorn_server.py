"""A server that stops in order: what has begun ends, and what is new is told to go elsewhere.

uvicorn closes the port and every idle connection at once, and lets its app know only after the
last request has ended: whoever asks meanwhile sees a broken connection, and a load balancer
nothing at all. Here the app knows first, and answers until what has begun is done.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import uvicorn

from gateway.server.protocol.connection import Configured

LOOK_SECONDS = 0.05
LAST_CALL_SECONDS = 0.2
"""How long who has just connected may take to ask, and is told to go elsewhere."""
FAREWELL_SECONDS = 2.0
"""How long clients are told that they wait in vain."""


class Drain(Protocol):
    """What an app puts into its lifespan's state as `drain`, where it has an end of its own."""

    def begin(self) -> None:
        """From now on the app refuses what is new."""

    def hurry(self) -> None:
        """Nothing is waited for any longer."""

    def end(self) -> None:
        """Time is up: what could still be taken back is not begun any more."""

    @property
    def seconds_left(self) -> float:
        """How long what has begun may still take."""
        ...

    @property
    def busy(self) -> bool:
        """Is there work that no request waits for?"""
        ...


class GatewayServer(uvicorn.Server):
    """uvicorn's server, with an orderly end.

    The first signal begins the drain. A further SIGTERM changes nothing, since a service manager
    may send it to every process of a group whose parent passes it on; a SIGINT after that, or a
    second one, ends the waiting.
    """

    config: Configured

    def __init__(self, config: Configured, on_started: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._hurried = False
        self._own_process = False
        self.retiring = False
        """Others accept on the same socket: this one accepts no more while it drains."""

    def run_until_told(self, listener: socket.socket) -> None:
        """Serve on this socket; to be called on the main thread of a process of its own."""
        # uvicorn raises the signal that ended it once more when it is done; by then all is
        # closed, and being told to stop is no failure.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, self.handle_exit)
        self._own_process = True
        self.run(sockets=[listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._own_process:
            _spare_what_stays()
        if self.started and self._on_started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif sig == signal.SIGINT:
            self.hurry()

    def hurry(self) -> None:
        """Wait no longer for what has begun."""
        self._hurried = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drain: Drain | None = self.lifespan.state.get("drain")
        if drain:
            await self._drain(drain)
        await super().shutdown(sockets)

    async def _drain(self, drain: Drain) -> None:
        """Let end what has begun; who comes meanwhile is answered, and its connection closed."""
        if self.retiring:
            self._accept_no_more()
        drain.begin()
        self.config.closing = True
        for connection in self.server_state.connections:
            connection.last_answer()  # type: ignore[union-attr]
        begun = set(self.server_state.tasks)
        while drain.busy or not all(task.done() for task in begun):
            if self._hurried:
                drain.hurry()
            if not drain.seconds_left:
                break
            await asyncio.sleep(LOOK_SECONDS)
        drain.end()
        await asyncio.sleep(LOOK_SECONDS)  # in which those are told whose work that was
        await _dismiss({task for task in begun if not task.done()})
        self._accept_no_more()
        await asyncio.sleep(LAST_CALL_SECONDS)

    def _accept_no_more(self) -> None:
        for server in self.servers:
            server.close()


def _spare_what_stays() -> None:
    """Have the garbage collector pass over what a started process keeps for good.

    To go through all of that took it some 40 ms, every few thousand requests (measured).
    """
    gc.collect()
    gc.freeze()


async def _dismiss(waiting: set[asyncio.Task[None]]) -> None:
    """Have those who wait in vain told so."""
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting, timeout=FAREWELL_SECONDS)
