"""How a connection to the upstream comes about: addresses, TLS, and a proxy in between."""

from __future__ import annotations

import asyncio
import base64
import itertools
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import httpx

from gateway.edges.upstream.attempt import Attempt, Payload
from gateway.edges.upstream.connection import Connection
from gateway.edges.upstream.receiving import Reception

_Info = tuple[int, int, int, str, Any]
_NEXT_ADDRESS_SECONDS = 0.25
"""After which another address of a host is tried besides, as RFC 8305 has it."""
_PORTS = {"http": 80, "https": 443}
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
"""An edit is silent for minutes: what lies between must not take its connection for dead, and
an upstream that is gone is to be noticed."""
if hasattr(socket, "TCP_KEEPIDLE"):
    KEEPALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    ]


class Dialler:
    """Makes connections to the host of `base_url`, by way of `proxy` where one is given.

    `prefix` is what every request's target begins with, and `lines` are what a proxy wants in
    each head. `ca_bundle` is trusted in place of the usual authorities.
    """

    def __init__(self, base_url: str, *, proxy: str, ca_bundle: str) -> None:
        url = httpx.URL(base_url)
        self.authority = url.netloc
        self.prefix = url.raw_path.rstrip(b"/")
        self.lines: tuple[tuple[str, str], ...] = ()
        self._url = url
        self._proxy = httpx.URL(proxy) if proxy else None
        self._context = _context(ca_bundle) if url.scheme == "https" else None
        to_proxy = self._proxy is not None and self._proxy.scheme == "https"
        self._proxy_context = _context("") if to_proxy else None
        if self._proxy and url.scheme == "http":
            self.prefix = b"http://" + url.netloc + self.prefix
            self.lines = _credentials(self._proxy)

    async def dial(self, make: Callable[[], Connection], seconds: float) -> Connection:
        """A connection that a request may be sent on. Raises OSError, TimeoutError and others."""
        async with asyncio.timeout(seconds):
            connection = await self._connect(make, self._proxy or self._url)
            if self._proxy and self._context:
                try:
                    await self._tunnel(connection, self._proxy, self._context, seconds)
                except BaseException:
                    connection.abort()
                    raise
        return connection

    async def _connect(self, make: Callable[[], Connection], url: httpx.URL) -> Connection:
        host = url.raw_host.decode("ascii")
        ending = await _reach(host, url.port or _PORTS[url.scheme])
        secure: dict[str, Any] = {}
        if url.scheme == "https":
            context = self._context if url is self._url else self._proxy_context
            secure = {"ssl": context, "server_hostname": host}
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(make, sock=ending, **secure)
        except BaseException:
            ending.close()
            raise
        return connection

    async def _tunnel(
        self, connection: Connection, proxy: httpx.URL, context: ssl.SSLContext, seconds: float
    ) -> None:
        host = self._url.raw_host.decode("ascii")
        target = f"{host}:{self._url.port or _PORTS['https']}"
        lines = (("host", target), *_credentials(proxy))
        head = head_of("CONNECT", target.encode("ascii"), lines)
        asked = Attempt("")
        reception = Reception(asked, 0, of_tunnel=True)
        await connection.ask(head, nothing(), reception, asked, seconds)
        if reception.status // 100 != 2:
            raise ConnectionError(f"the proxy answered {reception.status}")
        await connection.secure(context, host)


async def _reach(host: str, port: int) -> socket.socket:
    """A socket that is connected to whichever address of a host takes it first."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    left = [_open(family, kind, number, at) for family, kind, number, _, at in _in_turns(found)]
    under_way: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        while left or under_way:
            if left:
                under_way.add(loop.create_task(left.pop(0)))
            wait = _NEXT_ADDRESS_SECONDS if left else None
            done, _ = await asyncio.wait(under_way, timeout=wait, return_when="FIRST_COMPLETED")
            for attempt in done:
                under_way.discard(attempt)
                if (error := attempt.exception()) is None:
                    return attempt.result()
                errors.append(error)
    finally:
        for attempt in under_way:
            attempt.cancel()
            attempt.add_done_callback(_close_unused)
        for never in left:
            never.close()
    raise errors[0] if errors else OSError(f"{host} has no address")


def _close_unused(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _in_turns(found: Sequence[_Info]) -> list[_Info]:
    """The families of addresses one after the other, the first one first."""
    first = [info for info in found if info[0] == found[0][0]]
    other = [info for info in found if info[0] != found[0][0]]
    turns = itertools.chain.from_iterable(itertools.zip_longest(first, other))
    return [info for info in turns if info]


async def _open(family: int, kind: int, number: int, address: Any) -> socket.socket:
    ending = socket.socket(family, kind, number)
    try:
        ending.setblocking(False)
        for option in (*KEEPALIVE, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)):
            ending.setsockopt(*option)
        await asyncio.get_running_loop().sock_connect(ending, address)
    except BaseException:
        ending.close()
        raise
    return ending


def _context(ca_bundle: str) -> ssl.SSLContext:
    context = (
        ssl.create_default_context(cafile=ca_bundle)
        if ca_bundle
        else httpx.create_ssl_context(trust_env=False)
    )
    context.set_alpn_protocols(["http/1.1"])
    return context


def _credentials(proxy: httpx.URL) -> tuple[tuple[str, str], ...]:
    if not proxy.userinfo:
        return ()
    name, _, password = proxy.userinfo.decode("ascii").partition(":")
    plain = f"{unquote(name)}:{unquote(password)}".encode()
    return (("proxy-authorization", f"Basic {base64.b64encode(plain).decode('ascii')}"),)


def head_of(method: str, target: bytes, lines: tuple[tuple[str, str], ...]) -> bytes:
    """A request's head. Raises ValueError for what no header can hold."""
    head = bytearray(b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target))
    for name, value in lines:
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"the header {name} can't hold such characters")
        head += f"{name}: {value}\r\n".encode("ascii")
    return bytes(head + b"\r\n")


async def _no_chunks() -> AsyncGenerator[bytes | memoryview, None]:
    for _ in ():
        yield b""


def nothing() -> Payload:
    """No body."""
    return Payload("", 0, _no_chunks())
