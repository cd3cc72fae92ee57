"""The HTTP server: uvicorn's one home, and what it asks of a connection."""

from gateway.edges.server.connection import Door
from gateway.edges.server.running import (
    LOGGING,
    Meant,
    PortTaken,
    configured,
    listen,
    raise_file_limit,
    serve,
)

__all__ = [
    "LOGGING",
    "Door",
    "Meant",
    "PortTaken",
    "configured",
    "listen",
    "raise_file_limit",
    "serve",
]
