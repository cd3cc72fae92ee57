"""httpx's way to the upstream: by connections of our own, or by httpx's own through a proxy.

A call of 1 MB up and 1.4 MB down takes half the processor's time that it takes on httpcore, anyio
and h11 (measured), and that is what a miss adds. Behind a proxy httpx's own is the safer one.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

import httpx

from gateway.upstream.http.attempt import SENDING
from gateway.upstream.http.connection import Connection
from gateway.upstream.http.dialling import KEEPALIVE, Dialler
from gateway.upstream.http.pool import Pool
from gateway.upstream.http.reception import Incomplete, Reception

IDLE_SECONDS = 2.0
"""After which a connection is not used again. Many servers close theirs after 5 seconds: a call
that crosses such a close has left, and would have to be booked though nobody has read it."""
_NOT_IN_A_HEADER = re.compile(rb"[^\x20-\x7e\x80-\xff\t]")


def open_transport(
    *, idle_seconds: float, proxy: str, ca_bundle: str, most_in_place: int
) -> httpx.AsyncBaseTransport:
    """By way of `proxy` and trusting `ca_bundle` where given.

    How many connections there are is bounded by who calls. Bodies of answers up to
    `most_in_place` bytes come as one piece.
    """
    context = (
        ssl.create_default_context(cafile=ca_bundle)
        if ca_bundle
        else httpx.create_ssl_context(trust_env=False)
    )
    if not proxy:
        return Transport(Dialler(context), idle_seconds, most_in_place)
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=None, keepalive_expiry=idle_seconds),
        verify=context,
        proxy=proxy,
        trust_env=False,
        socket_options=KEEPALIVE,
    )


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over connections that are used again, one call at a time on each.

    It takes httpx's extensions `timeout` (`connect`, and `read` for any silence, of either side)
    and `trace` (`SENDING` alone), and requests whose head gives the length of their body.
    """

    def __init__(self, dialler: Dialler, idle_seconds: float, most_in_place: int) -> None:
        self._pool = Pool(dialler, idle_seconds=idle_seconds)
        self._most_in_place = most_in_place

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx's errors."""
        head, body = _head_of(request), cast(httpx.AsyncByteStream, request.stream)
        timeout = request.extensions["timeout"]
        with _errors(httpx.ConnectError, httpx.ConnectTimeout):
            connection = await self._pool.take(request.url, timeout["connect"])
        reception = Reception(self._most_in_place)
        answer = _Body(connection, reception, self._pool)
        try:
            if trace := request.extensions.get("trace"):
                await trace(SENDING, {"request": request})
            with _errors(httpx.ReadError, httpx.ReadTimeout):
                connection.begin(reception, timeout["read"])
                length = int(request.headers.get("content-length", "0"))
                await connection.send(head, body, length)
                await reception.begun
        except BaseException:
            await answer.aclose()
            raise
        return httpx.Response(reception.status, headers=reception.headers, stream=answer)

    async def aclose(self) -> None:
        """End all connections, those of calls under way too."""
        self._pool.close()


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closed, its connection serves another call, or ends."""

    def __init__(self, connection: Connection, reception: Reception, pool: Pool) -> None:
        self._connection = connection
        self._reception = reception
        self._pool = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors(httpx.ReadError, httpx.ReadTimeout):
            async for chunk in self._reception.chunks():
                yield chunk

    async def aclose(self) -> None:
        if self._connection.end(self._reception):
            self._pool.give_back(self._connection)


@contextmanager
def _errors(broken: type[httpx.TransportError], late: type[httpx.TransportError]) -> Iterator[None]:
    """What went wrong, in httpx's words."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except Incomplete as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise broken(str(error)) from error


def _head_of(request: httpx.Request) -> bytes:
    """The head as it is sent. Raises LocalProtocolError for what no head can hold."""
    method, target = request.method.encode("ascii"), request.url.raw_path
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    for name, value in request.headers.raw:
        if _NOT_IN_A_HEADER.search(value):
            raise httpx.LocalProtocolError(f"the header {name!r} can't hold such characters")
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join((*lines, b"", b""))
