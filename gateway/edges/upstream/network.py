"""The network below httpx, with larger reads: an answer of megabytes comes in few pieces.

httpcore asks for 64 KiB at a time, and each piece goes through six layers of generators and a
time-out of its own. What it asks for is no bound that it relies on.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

READ_BYTES = 1 << 20


def read_widely(transport: httpx.AsyncHTTPTransport) -> httpx.AsyncHTTPTransport:
    """The same transport, with connections that read so much at once."""
    transport._pool._network_backend = _Network()  # httpx itself takes none
    return transport


class _Network(httpcore.AsyncNetworkBackend):
    """Connects as httpcore does by itself under asyncio."""

    def __init__(self) -> None:
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(
            await self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        )

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, plain: httpcore.AsyncNetworkStream) -> None:
        self._plain = plain
        self.write = plain.write  # type: ignore[method-assign]
        self.aclose = plain.aclose  # type: ignore[method-assign]
        self.get_extra_info = plain.get_extra_info  # type: ignore[method-assign]

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> bytes:
        return await self._plain.read(max(max_bytes, READ_BYTES), timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._plain.start_tls(ssl_context, server_hostname, timeout))
