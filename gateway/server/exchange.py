"""One HTTP exchange: a body read within time limits, and an answer that every client receives.

A request may be refused while its client still uploads. Closing at once would show many clients
a broken connection instead of the answer, so the rest is read and dropped, within limits, before
the last byte is sent. A client that waits for `100 Continue` sends nothing; then nothing is read,
since the first `receive()` would send the `100`.

An answer may also be sent in pieces. ASGI cannot abort one: it is left unfinished, the server
closes the connection without the last chunk, and every client detects the truncation.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from gateway.model.errors import Refusal

PRINTABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LOOPBACK_HOST = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)
DRAIN_SECONDS = 15.0
SHORT_DRAIN_SECONDS = 1.0
TAKE_SECONDS = 120.0
"""How long a client may accept nothing of an answer in pieces."""


class ClientDisconnected(Exception):
    """The client has left, or accepts no more of its answer. Work for it goes on elsewhere."""


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
        self._body_started = False
        self._body_ended = False
        self.added_headers = [(b"x-request-id", request_id.encode())]
        """The headers of any answer, whatever it will be."""
        self.answered = False
        self.started = False
        """An answer in pieces has been started."""

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
    def path(self) -> str:
        return str(self._scope["path"])

    @property
    def path_parameters(self) -> Mapping[str, str]:
        """What stands for each `{name}` of the route's path.

        Raises `not_found` for a NUL: PostgreSQL can't even look for such a name.
        """
        found: Mapping[str, str] = self._scope["path_params"]
        if any("\0" in text for text in found.values()):
            raise Refusal("not_found", "There is nothing of this name: it has a NUL.")
        return found

    @property
    def query(self) -> str:
        """The query string, still encoded, without its question mark."""
        return bytes(self._scope["query_string"]).decode("latin-1")

    @property
    def address(self) -> str:
        client = self._scope.get("client")
        return client[0] if client else ""

    @property
    def is_of_this_machine(self) -> bool:
        """Did this come from this very machine, and not through a proxy that runs on it?

        A page of another site whose name leads here (DNS rebinding) sends that name as `Host`.
        """
        forwarded = {"forwarded", "x-forwarded-for", "x-real-ip", "via"} & self.headers.keys()
        if not _LOOPBACK_HOST.fullmatch(self.headers.get("host", "")):
            return False
        try:
            return not forwarded and ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises `upload_timeout`, or ClientDisconnected."""
        self._body_started = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._upload_seconds
        while not self._body_ended:
            limit = min(self._stall_seconds, deadline - loop.time())
            try:
                async with asyncio.timeout(limit):
                    message = await self._receive()
            except TimeoutError:
                raise Refusal(
                    "upload_timeout",
                    "The upload stalled or took too long; send it again over a better "
                    "connection, or send smaller images.",
                ) from None
            if message["type"] == "http.disconnect":
                self._body_ended = True
                raise ClientDisconnected
            self._body_ended = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk

    async def wait_for_disconnect(self) -> None:
        """Return when the client has left. Call it only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def shorten_drain(self) -> None:
        """Read little of a refused body, as the server shuts down."""
        self._drain_seconds = SHORT_DRAIN_SECONDS

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send the whole answer; if the body was not read completely, drain and close.

        Raises ValueError, with nothing sent, for an invalid header. Returns when the client has
        accepted all but the end.
        """
        raw = [*_raw(headers), *self.added_headers]
        if status != HTTPStatus.NOT_MODIFIED:  # it would be the length of what is not sent
            raw.append((b"content-length", str(len(body)).encode()))
        self.answered = True
        unread = self._has_body and not self._body_ended
        if unread:
            raw.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        if self._scope["method"] == "HEAD":
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if unread and (self._body_started or not self._awaits_continue):
            await self._drain()
        await self._send({"type": "http.response.body", "body": b""})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Start an answer in pieces. Call it only after the body was read.

        End it by `finish`, or leave it unfinished to abort it.
        """
        raw = [*_raw(headers), *self.added_headers]
        self.answered = self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def send(self, piece: bytes) -> None:
        """Send a piece. Raises ClientDisconnected if the client accepts nothing for too long.

        Does not raise if it has left: see `wait_for_disconnect`.
        """
        try:
            async with asyncio.timeout(self._take_seconds):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise ClientDisconnected from None

    async def finish(self, last: bytes) -> None:
        """Send the last piece, and the end by which the client knows that it has them all."""
        await self.send(last)
        await self._send({"type": "http.response.body", "body": b""})

    @property
    def _has_body(self) -> bool:
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    @property
    def _awaits_continue(self) -> bool:
        """The client sends no body before a `100 Continue`; HTTP/1.0 does not know it."""
        expects = self.headers.get("expect", "").lower() == "100-continue"
        return expects and self._scope.get("http_version") != "1.0"

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
    """Encode headers. Raises ValueError for control characters in one."""
    if not PRINTABLE.fullmatch("".join(headers.values())):
        name = next(name for name, value in headers.items() if not PRINTABLE.fullmatch(value))
        raise ValueError(f"the header {name} contains characters that can't be sent")
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
