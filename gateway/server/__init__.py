"""The HTTP edge: uvicorn, its connection limits, exchanges, graceful shutdown, workers."""

from gateway.server.listen import (
    LOGGING,
    PortTaken,
    UnfinishedAnswerFilter,
    listen,
    raise_file_limit,
    serve,
    server_config,
)
from gateway.server.protocol.connection import ServerConfig
from gateway.server.protocol.connection_limits import ConnectionLimits
from gateway.server.uvicorn_server import GatewayServer

__all__ = [
    "LOGGING",
    "ConnectionLimits",
    "GatewayServer",
    "PortTaken",
    "ServerConfig",
    "UnfinishedAnswerFilter",
    "listen",
    "raise_file_limit",
    "serve",
    "server_config",
]
