"""Connections to the upstream: how many, for how long, and kept alive while nothing is said."""

from __future__ import annotations

import socket
import ssl

import httpx

from gateway.edges.upstream.network import read_widely

IDLE_SECONDS = 2.0
"""After which a connection is not used again. Many servers close theirs after 5 seconds: a call
that crosses such a close has left, and would have to be booked though nobody has read it."""
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
"""An edit is silent for minutes: what lies between must not take its connection for dead, and
an upstream that is gone is to be noticed."""
if hasattr(socket, "TCP_KEEPIDLE"):
    KEEPALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    ]


def open_transport(
    connections: int, *, idle_seconds: float, proxy: str, ca_bundle: str
) -> httpx.AsyncHTTPTransport:
    """At most so many connections, by way of `proxy` and trusting `ca_bundle` where given."""
    return read_widely(
        httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=idle_seconds),
            verify=ssl.create_default_context(cafile=ca_bundle) if ca_bundle else True,
            proxy=proxy or None,
            trust_env=False,
            socket_options=KEEPALIVE,
        )
    )
