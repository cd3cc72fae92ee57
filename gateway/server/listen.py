"""Listening on a port, and serving an app until it is stopped."""

from __future__ import annotations

import ipaddress
import logging
import resource
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gateway.server.protocol.connection import ClientConnection, ServerConfig
from gateway.server.protocol.connection_limits import ConnectionLimits
from gateway.server.uvicorn_server import GatewayServer
from gateway.server.worker_processes import WorkerSupervisor

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"unfinished_answers": {"()": "gateway.server.UnfinishedAnswerFilter"}},
    "loggers": {"uvicorn.error": {"filters": ["unfinished_answers"]}},
}
FILES_PER_CONNECTION = 2
"""The socket, and a spooled upload or a call to the upstream."""
CLOSE_SECONDS = 5
"""How long the last answers may take to be sent, once all other work is done."""


class PortTaken(Exception):
    """The address cannot be listened on; the message says which and why."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"can't listen on {host}:{port}: {error.strerror}. Stop the process that uses it, or "
            "choose another port with GATEWAY_SERVER__PORT."
        ) from None
    listener.set_inheritable(True)
    return listener


def server_config(
    app: Callable[..., Any],
    limits: ConnectionLimits,
    *,
    factory: bool = False,
    trusted_proxies: Sequence[str] = (),
    close_seconds: int = CLOSE_SECONDS,
    lifespan: bool = True,
    log_config: dict[str, Any] | None = None,
) -> ServerConfig:
    """The server's configuration; `app` is the ASGI app, or makes it if `factory` is set.

    `log_config` sets the logging of the whole process.
    """
    config = ServerConfig(
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
    config.trusted_networks = [ipaddress.ip_network(proxy) for proxy in trusted_proxies]
    config.connection_limits = replace(
        limits, max_connections=_within_file_limit(limits.max_connections)
    )
    return config


def serve(
    make_app: Callable[[], Any],
    listener: socket.socket,
    *,
    limits: ConnectionLimits,
    workers: int,
    trusted_proxies: Sequence[str],
    on_started: Callable[[], None],
    on_died: Callable[[int, int], None] = lambda pid, status: None,
) -> bool:
    """Serve until stopped by SIGINT, SIGTERM or SIGHUP; False if the app did not start.

    `make_app` makes the ASGI app in the process that serves it, and must be picklable if there
    are several workers; `on_died` is called with the pid and status of each that crashes.
    """
    raise_file_limit()
    config = server_config(
        make_app, limits, factory=True, trusted_proxies=trusted_proxies, log_config=LOGGING
    )
    if workers > 1:
        return WorkerSupervisor(config, listener, workers, on_started, on_died).run()
    server = GatewayServer(config, on_started)
    server.run_until_stopped(listener)
    return server.started


def raise_file_limit() -> None:
    """Raise the limit of open files as far as allowed; worker processes inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        return  # not allowed on this system; the number of connections is limited accordingly


def _within_file_limit(max_connections: int) -> int:
    """`max_connections`, or fewer if the limit of open files requires it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max_connections
    return max(1, min(max_connections, soft // FILES_PER_CONNECTION))


class UnfinishedAnswerFilter(logging.Filter):
    """Drops uvicorn's error about an unfinished answer: that is how a stream is aborted.

    The log of events says why.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()
