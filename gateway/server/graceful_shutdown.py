"""Graceful shutdown: requests and flights in progress finish, new ones are refused.

uvicorn by itself closes the port and all idle connections at once, and informs its app only
after the last request: clients see broken connections, and a load balancer no sign. Here the app
is informed first, and answers new requests (with 503) until the work in progress is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import uvicorn

from gateway.server.protocol.connection import ClientConnection
from gateway.telemetry.log import EventLog

POLL_SECONDS = 0.05
LAST_CONNECTION_POLLS = 4
"""How long connections that were just accepted may take to send a request, and be refused."""
CANCEL_SECONDS = 2.0
"""How long cancelled requests may take to be answered."""


class GracefulShutdown:
    """The state of a shutdown; the app puts it into its lifespan's state as `drain`."""

    def __init__(
        self,
        seconds: float,
        in_flight: Callable[[], int],
        log: EventLog,
        on_end: Callable[[], None] = lambda: None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._seconds = seconds
        self._in_flight = in_flight
        self._log = log
        self._on_end = on_end
        self._on_begin = on_begin
        self._until = 0.0
        self.in_progress = False

    def begin(self) -> None:
        """Refuse new requests, and wait for no flight of another process. Idempotent."""
        if self.in_progress:
            return
        self.in_progress = True
        self._on_begin()
        self._until = time.monotonic() + self._seconds
        if self.busy:
            self._log.info("draining", flights=self._in_flight(), at_most_seconds=self._seconds)

    def stop_waiting(self) -> None:
        """Let the time run out now."""
        self.in_progress = True
        self._until = time.monotonic()

    def end(self) -> None:
        """The time is up: flights that still wait for a slot are given up, as nothing was sent."""
        self._on_end()

    @property
    def seconds_left(self) -> float:
        """How long the work in progress may still take."""
        return max(0.0, self._until - time.monotonic())

    @property
    def busy(self) -> bool:
        """True while flights are in progress, including those whose clients have left."""
        return self._in_flight() > 0


async def drain(
    shutdown: GracefulShutdown, server: uvicorn.Server, is_aborted: Callable[[], bool]
) -> None:
    """Finish the requests in progress, and answer others until then, closing their connections."""
    shutdown.begin()
    server.config.closing = True  # type: ignore[attr-defined]
    for connection in server.server_state.connections:
        if isinstance(connection, ClientConnection):
            connection.close_after_next_answer()
    requests = set(server.server_state.tasks)
    while shutdown.busy or not all(task.done() for task in requests):
        if is_aborted():
            shutdown.stop_waiting()
        if not shutdown.seconds_left:
            break
        await asyncio.sleep(POLL_SECONDS)
    shutdown.end()
    if requests:
        # Requests whose flight was given up are answered in the meantime.
        await asyncio.wait(requests, timeout=POLL_SECONDS)
    await _cancel({task for task in requests if not task.done()})
    stop_accepting(server)
    for _ in range(LAST_CONNECTION_POLLS):
        await asyncio.sleep(POLL_SECONDS)
        if not server.server_state.connections:
            break


def stop_accepting(server: uvicorn.Server) -> None:
    """Accept no further connection in this process."""
    for each in server.servers:
        each.close()


async def _cancel(requests: set[asyncio.Task[None]]) -> None:
    """Cancel requests, and wait until their clients are answered."""
    for task in requests:
        task.cancel()
    if requests:
        await asyncio.wait(requests, timeout=CANCEL_SECONDS)
