"""Connections to the upstream: TLS, socket options, time-outs, and how long one is kept."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import certifi

from gateway.upstream.call import Unsent

IDLE_SECONDS = 2.0
"""With `keep_alive`: how long a connection may be idle and still serve another call. Many servers
close theirs after 5 seconds; a call that crosses such a close has left and must be booked."""
MAX_HEADER_BYTES = 64 * 1024
"""The longest header line of an answer."""
_KEEPALIVE_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 6}
"""An edit is silent for minutes: probes keep routers from dropping its connection, and notice an
upstream that is gone."""


def open_tls(ca_bundle: str) -> ssl.SSLContext:
    """Trusts the file `ca_bundle` alone, or without one the usual authorities. Raises OSError."""
    context = ssl.create_default_context(cafile=ca_bundle or certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def open_session(
    *,
    tls: ssl.SSLContext | None,
    keep_alive: bool,
    idle_seconds: float,
    connect_timeout_seconds: float,
    read_timeout_seconds: float,
) -> aiohttp.ClientSession:
    """A session that takes nothing from the environment: no proxy, no password, no CA bundle.

    The caller bounds the number of its connections. A request's `trace_request_ctx` has an
    attribute `sent`, which becomes True before any byte of that request can leave.
    """
    kept = {"keepalive_timeout": idle_seconds} if keep_alive else {"force_close": True}
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(_mark_sent)
    tracing.on_connection_reuseconn.append(_mark_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, ssl=tls or True, socket_factory=_open_socket, **kept
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        timeout=aiohttp.ClientTimeout(
            total=None, connect=connect_timeout_seconds, sock_read=read_timeout_seconds
        ),
        trace_configs=[tracing],
        request_class=_CheckedRequest,
        auto_decompress=False,
        trust_env=False,
    )


class _CheckedRequest(aiohttp.ClientRequest):
    """Is not sent on a connection that has unread bytes: they would be taken for its answer."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        protocol, transport = conn.protocol, conn.transport
        if protocol is None or transport is None or protocol.should_close or _has_bytes(transport):
            raise Unsent("the connection has unread bytes")
        return await super().send(conn)


def _has_bytes(transport: asyncio.Transport) -> bool:
    """Has the socket received something that the event loop has not read yet?"""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _mark_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object
) -> None:
    """A connection exists, with TLS and through the proxy: the request goes out next."""
    if attempt := context.trace_request_ctx:
        attempt.sent = True


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    opened = socket.socket(*address[:3])
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE_PROBES.items():
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return opened
