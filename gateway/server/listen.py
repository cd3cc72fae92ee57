"""Listening, and serving an app until told to stop."""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gateway.server.protocol.connection import ClientConnection, Configured, ConnectionLimits
from gateway.server.uvicorn_server import GatewayServer
from gateway.server.workers import Workers

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"meant": {"()": "gateway.server.Meant"}},
    "loggers": {"uvicorn.error": {"filters": ["meant"]}},
}
FILES_PER_CONNECTION = 2
"""Itself, and a spooled upload or a call to the upstream."""
CLOSE_SECONDS = 5
"""How long the last answers may take to leave, once nothing else is waited for."""


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


def configured(
    app: Callable[..., Any],
    door: ConnectionLimits,
    *,
    factory: bool = False,
    trusted_proxies: Sequence[str] = (),
    close_seconds: int = CLOSE_SECONDS,
    lifespan: bool = True,
    log_config: dict[str, Any] | None = None,
) -> Configured:
    """How the gateway's server runs; `app` is the ASGI app, or makes it where `factory` is set.

    `log_config` is for a process of our own: it sets the logging of the whole process.
    """
    config = Configured(
        app,
        factory=factory,
        loop="uvloop",
        http=ClientConnection,
        ws="none",
        lifespan="on" if lifespan else "off",
        log_config=log_config,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=75,
        timeout_graceful_shutdown=close_seconds,
    )
    config.door = replace(door, max_connections=_that_fit(door.max_connections))
    return config


def serve(
    make_app: Callable[[], Any],
    listener: socket.socket,
    *,
    door: ConnectionLimits,
    workers: int,
    trusted_proxies: Sequence[str],
    on_started: Callable[[], None],
    on_died: Callable[[int, int], None] = lambda pid, status: None,
) -> bool:
    """Serve until told to stop (SIGINT, SIGTERM, SIGHUP); False where the app did not start.

    `make_app` makes the ASGI app in the process that serves it, and must be picklable where
    there are several workers; `on_died` is told of each that ended without being asked to.
    """
    raise_file_limit()
    config = configured(
        make_app, door, factory=True, trusted_proxies=trusted_proxies, log_config=LOGGING
    )
    if workers > 1:
        return Workers(config, listener, workers, on_started, on_died).run()
    server = GatewayServer(config, on_started)
    server.run_until_told(listener)
    return server.started


def raise_file_limit() -> None:
    """As many open files as this process may have; worker processes inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        return  # a system that does not allow it; the cap on connections goes by what there is


def _that_fit(max_connections: int) -> int:
    """So many connections, or as many as there may be open files for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max_connections
    return max(1, min(max_connections, soft // FILES_PER_CONNECTION))


class Meant(logging.Filter):
    """Passes over what uvicorn takes for a mistake: an answer that is left unfinished.

    That is how a stream is broken off, and the journal says why.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()
