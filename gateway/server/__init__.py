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
from gateway.server.protocol.connection import Configured, ConnectionLimits
from gateway.server.uvicorn_server import Drain, GatewayServer

__all__ = [
    "LOGGING",
    "Configured",
    "ConnectionLimits",
    "Drain",
    "GatewayServer",
    "Meant",
    "PortTaken",
    "configured",
    "listen",
    "raise_file_limit",
    "serve",
]
