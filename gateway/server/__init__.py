"""The HTTP server: uvicorn's one home, and what it asks of a connection."""

from gateway.server.listen import (
    LOGGING,
    Meant,
    PortTaken,
    configured,
    listen,
    raise_file_limit,
    serve,
)
from gateway.server.protocol.connection import Configured, Door
from gateway.server.uvicorn_server import Drain, Server

__all__ = [
    "LOGGING",
    "Configured",
    "Door",
    "Drain",
    "Meant",
    "PortTaken",
    "Server",
    "configured",
    "listen",
    "raise_file_limit",
    "serve",
]
