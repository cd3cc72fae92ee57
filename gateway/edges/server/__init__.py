"""The HTTP server: uvicorn's one home, and what it asks of a connection."""

from gateway.edges.server.connection import Configured, Door
from gateway.edges.server.running import (
    LOGGING,
    Meant,
    PortTaken,
    configured,
    listen,
    raise_file_limit,
    serve,
)
from gateway.edges.server.stopping import Drain, Server

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
