"""How a connection to the upstream comes about: addresses, and TLS."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from gateway.upstream.http.connection import Connection

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
    """Makes connections; `context` is for those that are secure."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._context.set_alpn_protocols(["http/1.1"])

    async def dial(
        self, url: httpx.URL, make: Callable[[], Connection], seconds: float
    ) -> Connection:
        """A connection to a URL's host that a request may be sent on.

        Raises OSError, TimeoutError and others.
        """
        host = url.raw_host.decode("ascii")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            ending = await _reach(host, url.port or _PORTS[url.scheme])
            secure: dict[str, Any] = {}
            if url.scheme == "https":
                secure = {"ssl": self._context, "server_hostname": host}
            try:
                _, connection = await loop.create_connection(make, sock=ending, **secure)
            except BaseException:
                ending.close()
                raise
        return connection


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
