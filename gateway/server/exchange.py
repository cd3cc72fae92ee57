"""One HTTP exchange: a body read within bounds of time, an answer that every client sees.

A refusal may come while the client still uploads. Closing at once would show many clients
a broken connection instead of the answer, so the rest is read and dropped, within bounds,
before the last byte goes out. Where `100 Continue` was asked for and not given yet, nothing
is read at all: the first `receive()` would send it.

An answer may also come in pieces. ASGI has no word for breaking one off: it is left
unfinished, upon which the server closes the connection without the last chunk, and every
client sees that something is missing.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Mapping

from starlette.types import Receive, Scope, Send

from gateway.model.errors import Refusal

PRINTABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
DRAIN_SECONDS = 15.0
HURRIED_DRAIN_SECONDS = 1.0
TAKE_SECONDS = 120.0
"""How long a client may take nothing of an answer in pieces."""


class Disconnected(Exception):
    """The client left before its request was whole, or before it had its answer."""


class Exchange:
    """A request and the one answer to it."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        request_id: str,
        stall_seconds: float = 30.0,
        upload_seconds: float = 300.0,
        drain_bytes: int = 300_000_000,
        take_seconds: float = TAKE_SECONDS,
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.request_id = request_id
        self._stall_seconds = stall_seconds
        self._upload_seconds = upload_seconds
        self._drain_bytes = drain_bytes
        self._take_seconds = take_seconds
        self._drain_seconds = DRAIN_SECONDS
        self._body_begun = False
        self._body_ended = False
        self.answered = False
        self.begun = False
        """An answer in pieces has begun."""

    @functools.cached_property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; a repeated header is joined by a comma."""
        headers: dict[str, list[str]] = {}
        for name, value in self._scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return {name: ", ".join(values) for name, values in headers.items()}

    @property
    def method(self) -> str:
        return str(self._scope["method"])

    @property
    def query(self) -> str:
        """The query as it came, still encoded, without its question mark."""
        return bytes(self._scope["query_string"]).decode("latin-1")

    @property
    def address(self) -> str:
        client = self._scope.get("client")
        return client[0] if client else ""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `upload_timeout`, or Disconnected."""
        self._body_begun = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._upload_seconds
        while not self._body_ended:
            patience = min(self._stall_seconds, deadline - loop.time())
            try:
                async with asyncio.timeout(patience):
                    message = await self._receive()
            except TimeoutError:
                raise Refusal(
                    "upload_timeout",
                    "The upload stalled or took too long; send it again over a better "
                    "connection, or send smaller images.",
                ) from None
            if message["type"] == "http.disconnect":
                self._body_ended = True
                raise Disconnected
            self._body_ended = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk

    async def gone(self) -> None:
        """Returns when the client has left; to be called only once the body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def hurry(self) -> None:
        """There is little time left: of a body that is refused only what comes at once is read."""
        self._drain_seconds = HURRIED_DRAIN_SECONDS

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send the whole answer; where the body was not read to its end, drain and close.

        Raises ValueError, and has sent nothing, where a header can't be one. Returns when the
        client has taken all but the last of it.
        """
        raw = [*_raw(headers), (b"content-length", str(len(body)).encode())]
        self.answered = True
        unread = self._has_body and not self._body_ended
        if unread:
            raw.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        if self._scope["method"] == "HEAD":
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if unread and (self._body_begun or "expect" not in self.headers):
            await self._drain()
        await self._send({"type": "http.response.body", "body": b""})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer in pieces; only once the body is read to its end.

        Whoever begins one calls `finish`, or leaves it unfinished to break it off.
        """
        raw = _raw(headers)
        self.answered = self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def send(self, piece: bytes) -> None:
        """Send a piece. Raises Disconnected where the client has long taken nothing.

        Nothing is raised where it has left: that is for `gone` to say.
        """
        try:
            async with asyncio.timeout(self._take_seconds):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise Disconnected from None

    async def finish(self, last: bytes) -> None:
        """End an answer in pieces with its last one, so that the client knows it has them all.

        Returns when the client has taken all but the last of it.
        """
        await self.send(last)
        await self._send({"type": "http.response.body", "body": b""})

    @property
    def _has_body(self) -> bool:
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    async def _drain(self) -> None:
        left = self._drain_bytes
        try:
            async with asyncio.timeout(self._drain_seconds):
                while left > 0 and not self._body_ended:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._body_ended = not message.get("more_body", False)
        except TimeoutError:
            return


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as they are sent. Raises ValueError for what can't stand in one."""
    if not PRINTABLE.fullmatch("".join(headers.values())):
        name = next(name for name, value in headers.items() if not PRINTABLE.fullmatch(value))
        raise ValueError(f"what the header {name} is to say can't be sent")
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
