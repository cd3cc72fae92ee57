"""The HTTP server: uvicorn's one home."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"meant": {"()": "gateway.edges.server.Meant"}},
    "loggers": {"uvicorn.error": {"filters": ["meant"]}},
}


class PortTaken(Exception):
    """The address can't be listened on; the text says which and why."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken with one clear line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"can't listen on {host}:{port}: {error.strerror}. Stop what uses it, or choose "
            "another with GATEWAY_SERVER__PORT."
        ) from None
    listener.set_inheritable(True)
    return listener


def serve(
    make_app: Callable[[], Any],
    listener: socket.socket,
    *,
    workers: int,
    trusted_proxies: Sequence[str],
    drain_seconds: float,
    on_started: Callable[[], None],
) -> bool:
    """Serve until told to stop (SIGINT, SIGTERM); False where the app did not start.

    `make_app` makes the ASGI app in the process that serves it, and must be picklable where
    there are several workers.
    """
    config = uvicorn.Config(
        make_app,
        factory=True,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(drain_seconds) or None,
    )
    server = _Server(config, on_started)
    if workers == 1:
        # uvicorn raises the signal that ended it once more when it is done; by then all is
        # closed, and being told to stop is no failure.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        server.run(sockets=[listener])
        return server.started
    on_started()
    Multiprocess(config, sockets=[listener]).run()
    return True


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


class Meant(logging.Filter):
    """Passes over what uvicorn takes for a mistake: an answer that is left unfinished.

    That is how a stream is broken off, and the journal says why.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()
