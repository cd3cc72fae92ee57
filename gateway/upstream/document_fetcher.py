"""Fetching small JSON documents of a host that the settings name, and of those that it names.

Its own origin may be at any address. Another host is reached over https at public addresses only,
so that a document can't lead to the inside of the network.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gateway.upstream.picture_fetcher import open_checked_session
from gateway.upstream.rules.picture_hosts import PictureHosts, parse_hosts

_HEADERS = {
    "user-agent": "image-edit-gateway",
    "accept": "application/json",
    "accept-encoding": "identity",
}
_MOST_BYTES = 2**20


class DocumentNotFetched(Exception):
    """A document can't be had; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentFetcher:
    """Fetches for one origin, such as `https://login.example.com`."""

    origin: str
    tls: ssl.SSLContext
    seconds: float = 10.0

    async def get(self, url: str) -> dict[str, Any]:
        return await self._fetch("GET", url, None, {})

    async def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        return await self._fetch("POST", url, form, headers)

    async def _fetch(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        shown = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"[:200]
        try:
            public_only = self._hosts(url).check(url)
            async with (
                asyncio.timeout(self.seconds),
                open_checked_session(self.tls, public_only=public_only) as session,
                session.request(
                    method,
                    url,
                    data=form,
                    headers={**_HEADERS, **headers},
                    allow_redirects=False,
                ) as response,
            ):
                body, status = await _body(response), response.status
        except TimeoutError:
            raise DocumentNotFetched(f"{shown} did not answer in {self.seconds:g} s") from None
        except (ValueError, OSError, aiohttp.ClientError) as error:
            raise DocumentNotFetched(f"{shown}: {type(error).__name__}: {error}") from error
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise DocumentNotFetched(f"{shown} answered {status} without a JSON object")
        if status != 200:
            said = str(document.get("error", ""))[:80]
            raise DocumentNotFetched(f"{shown} answered {status} {said}".rstrip())
        return document

    def _hosts(self, url: str) -> PictureHosts:
        """Where this URL may lead: the origin, or its own host, which is a name."""
        hosts = parse_hosts([self.origin])
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}".lower() in (self.origin, f"{self.origin}:443"):
            return hosts
        return parse_hosts([self.origin, parts.hostname or ""])


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ValueError(f"its answer has more than {_MOST_BYTES} bytes")
    return bytes(body)
