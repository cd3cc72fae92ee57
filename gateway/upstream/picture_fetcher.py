"""Fetching pictures that an upstream gives as URLs, so that they can be stored.

Only from hosts that the settings name, and never through a proxy: the connection goes to the
address that was checked, with the host's name for TLS, so that no second look-up leads elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.uploads.rules.picture_sniffer import is_picture
from gateway.upstream.answer_reader import is_encoded
from gateway.upstream.connections import MAX_HEADER_BYTES
from gateway.upstream.rules.picture_hosts import PictureHosts, is_public

_HEADERS = {"user-agent": "image-edit-gateway", "accept": "image/*", "accept-encoding": "identity"}
_AT_ONCE = 8
_HEAD_BYTES = 64


class PictureNotFetched(Exception):
    """A picture could not be fetched, or may not be; the text says why, without path or query."""


@dataclass(slots=True)
class _ByteBudget:
    """How many bytes may still arrive, for all pictures of an answer."""

    limit: int
    taken: int = 0

    def take(self, number: int) -> None:
        self.taken += number
        if self.taken > self.limit:
            raise PictureNotFetched(f"the answer's pictures are larger than {self.limit} bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFetcher:
    """Fetches pictures for one upstream. The bounds hold for all pictures of an answer together."""

    hosts: PictureHosts
    max_bytes: int
    seconds: float
    tls: ssl.SSLContext | None = None
    """None: the usual authorities are trusted."""

    async def fetch(self, urls: Sequence[str]) -> list[bytes]:
        """The pictures at these URLs, in order. Raises PictureNotFetched if one can't be had."""
        try:
            public_only = [self.hosts.check(url) for url in urls]
        except ValueError as error:
            raise PictureNotFetched(str(error)) from None
        try:
            async with asyncio.timeout(self.seconds):
                return await self._fetch_all(urls, public_only)
        except TimeoutError:
            raise PictureNotFetched(f"it took longer than {self.seconds:g} s") from None
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _fetch_all(self, urls: Sequence[str], public_only: Sequence[bool]) -> list[bytes]:
        budget, turns = _ByteBudget(self.max_bytes), asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            fetches = [
                group.create_task(self._fetch(url, public, budget, turns))
                for url, public in zip(urls, public_only, strict=True)
            ]
        return [fetch.result() for fetch in fetches]

    async def _fetch(
        self, url: str, public_only: bool, budget: _ByteBudget, turns: asyncio.Semaphore
    ) -> bytes:
        try:
            async with turns, open_checked_session(self.tls, public_only=public_only) as session:
                return await self._read(session, url, budget)
        except PictureNotFetched:
            raise
        except Exception as error:
            # Whatever it is, the money is settled, and the client can still have the URL.
            raise PictureNotFetched(f"{type(error).__name__} while fetching it") from error

    async def _read(self, session: aiohttp.ClientSession, url: str, budget: _ByteBudget) -> bytes:
        # `encoded`: the URL is often signed, and has to arrive as it is.
        target = URL(url, encoded=True)
        async with session.get(target, headers=_HEADERS, allow_redirects=False) as response:
            if response.status != 200:
                raise PictureNotFetched(f"its host answered {response.status}")
            if is_encoded(response):
                raise PictureNotFetched("its host sent it with a content encoding")
            body = bytearray()
            async for chunk in response.content.iter_any():
                budget.take(len(chunk))
                body += chunk
        if not is_picture(bytes(body[:_HEAD_BYTES])):
            raise PictureNotFetched("what its host sent is no picture")
        return bytes(body)


def open_checked_session(tls: ssl.SSLContext | None, *, public_only: bool) -> aiohttp.ClientSession:
    """A session for one request; with `public_only`, it connects to public addresses alone."""
    connector = aiohttp.TCPConnector(
        ssl=tls or True,
        resolver=_CheckingResolver() if public_only else None,
        use_dns_cache=False,
        force_close=True,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        auto_decompress=False,
        trust_env=False,
    )


class _CheckingResolver(AbstractResolver):
    """Gives the public addresses of a host; the connection is made to one of these."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results = [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, (address, *_) in found
            if isinstance(address, str) and is_public(address)
        ]
        if not results:
            raise OSError("the host has no public address")
        return results

    async def close(self) -> None:
        """There is nothing to close."""
