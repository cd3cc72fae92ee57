"""An answer on its way in: its head, then its body, kept whole or heard as a stream of events."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

import httptools

from gateway.edges.upstream.attempt import Attempt, Listener
from gateway.rules import events
from gateway.rules.events import Event, EventParser, TooLarge

MOST_BETWEEN_BYTES = 100 * 1024
"""Of heads, trailers and framing at a stretch: what is no body is kept by the parser."""
_LARGE_BYTES = 64 * 1024
"""A body of this length or more is read into its place, past the parser."""
_NO_HEADERS: Mapping[str, str] = {}


class Incomplete(Exception):
    """The answer does not come to its end, or is none."""


class Reception:
    """One answer, told of by its connection.

    `answered` ends when the answer is known: with the whole of it, or with the last event of a
    stream that `listener` hears; it raises what went wrong before that. `over` says that all of
    it has come, `reusable` that its connection may then serve again. An answer `of_tunnel` ends
    with its head.
    """

    def __init__(
        self,
        attempt: Attempt,
        max_bytes: int,
        listener: Listener | None = None,
        *,
        of_tunnel: bool = False,
    ) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.headers: Mapping[str, str] = _NO_HEADERS
        self.last: Event | None = None
        self.went_wrong = False
        self.over = False
        self.reusable = False
        self._attempt = attempt
        self._max_bytes = max_bytes
        self._listener = listener
        self._of_tunnel = of_tunnel
        self._said: dict[str, str] = {}
        self._until_close = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._between_bytes = 0
        self._came = False
        self._rest: asyncio.Future[None] | None = None
        self._place: memoryview | None = None
        self._decoder: Any = None
        self._events: EventParser | None = None
        self._parser: Any = httptools.HttpResponseParser(self)

    @property
    def body(self) -> bytes:
        """The body that was kept, or the last event's data."""
        if self.last is not None:
            return self.last.data
        return b"".join(self._body) if self._place is None else bytes(self._place)

    # --- the connection's side --------------------------------------------------------

    def room(self) -> memoryview | None:
        """Where the next bytes go, if they are a body's whose place is there already."""
        return None if self._place is None or self.over else self._place[self._body_bytes :]

    def placed(self, count: int) -> None:
        """So many bytes have come into `room`."""
        self._body_bytes += count
        if self._place is not None and self._body_bytes == len(self._place):
            self._end()

    def take(self, data: memoryview) -> None:
        """Bytes have come; they may change when this returns."""
        if self.over:
            self.reusable = False  # nobody has asked for them
            return
        self._came = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(Incomplete("it changes to another protocol"))
        except httptools.HttpParserError as error:
            # What comes after a whole answer is no part of it, and nothing that was asked for.
            self.reusable = False
            self.fail(Incomplete(f"it is no HTTP: {error}"))
        self._between_bytes = 0 if self._came else self._between_bytes + len(data)
        if self._between_bytes > MOST_BETWEEN_BYTES:
            self.fail(Incomplete("its head has no end"))

    def closed(self, error: Exception | None) -> None:
        """The connection has ended; an answer without a length ends with it."""
        if self._until_close and error is None:
            self._end()
        self.reusable = False
        self.fail(error or Incomplete("the connection was closed"))
        self._tell()

    def fail(self, error: Exception) -> None:
        """No more of it is wanted, unless it was known before."""
        if not self.answered.done():
            self.answered.set_exception(error)

    async def rest(self, seconds: float) -> None:
        """Wait for what follows the last event, at most so long."""
        if not self.over:
            self._rest = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._rest}, timeout=seconds)

    def leave(self) -> None:
        """Nobody waits for it any more. The parser knows us as we know it: one has to let go."""
        self._parser = None
        if not self.answered.cancel() and not self.answered.cancelled():
            self.answered.exception()

    # --- the parser's side ------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.over:
            self.reusable = False  # a second answer

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        said = self._said
        said[key] = f"{said[key]}, {text}" if key in said else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self.over:
            self._said = {}  # an interim answer
            return
        self.status, self.headers, self._said = status, self._said, {}
        self._attempt.request_id = _printable(self.headers.get("x-request-id", ""))[:200]
        self.reusable = self._of_tunnel or self._parser.should_keep_alive()
        if self._of_tunnel:
            self._end()
        else:
            self._prepare()

    def _prepare(self) -> None:
        """What its head says of the body."""
        headers = self.headers
        self._decoder = _decoder(headers.get("content-encoding", ""))
        if self._listener and is_stream(self.status, headers):
            self._events = EventParser(self._max_bytes)
            self._listener.began()
        plain = "transfer-encoding" not in headers
        length = headers.get("content-length")
        self._until_close = plain and length is None and self.status not in (204, 304)
        if length is None or not length.isdecimal() or not plain or self._decoder or self._events:
            return
        if int(length) > self._max_bytes:
            self._too_large()
        elif int(length) >= _LARGE_BYTES:
            self._place = memoryview(bytearray(int(length)))

    def on_body(self, data: bytes) -> None:
        self._came = True
        if self._decoder is not None:
            data = self._decoded(data)
        start = self._body_bytes
        self._body_bytes += len(data)
        if self.answered.done():
            return
        if self._place is not None:
            self._place[start : self._body_bytes] = data
        elif self._body_bytes > self._max_bytes:
            self._too_large()
        elif self._events is None:
            self._body.append(data)
        else:
            self._hear(self._events, data)

    def on_message_complete(self) -> None:
        if self.status:
            self._end()

    def _tell(self) -> None:
        if self._rest and not self._rest.done():
            self._rest.set_result(None)

    def _end(self) -> None:
        self.over = True
        self._tell()
        if self._events is not None and self.last is None:
            self.fail(self._attempt.broken("failed", "the stream ended without a completed event"))
        elif not self.answered.done():
            self.answered.set_result(None)

    def _hear(self, parser: EventParser, data: bytes) -> None:
        """Pass events on until the last one."""
        try:
            for event in parser.feed(data):
                kind = events.kind_of(event)
                if kind in ("completed", "error"):
                    self.last, self.went_wrong = event, kind == "error"
                    self.answered.set_result(None)
                    return
                if kind and self._listener:
                    self._listener.take(event)
        except TooLarge:
            self._too_large()

    def _decoded(self, data: bytes) -> bytes:
        """What is compressed although it was asked not to be, as much of it as may be."""
        try:
            decoded: bytes = self._decoder.decompress(data, self._max_bytes + 1)
        except zlib.error as error:
            self.fail(Incomplete(f"its compression is broken: {error}"))
            return b""
        return decoded

    def _too_large(self) -> None:
        detail = f"the answer is larger than {self._max_bytes} bytes"
        self.fail(self._attempt.broken("too_large", detail))


def is_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Is it a stream of events? An error is none, whatever it calls itself."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return status == 200 and kind == events.CONTENT_TYPE


def _decoder(encoding: str) -> Any:
    kind = encoding.strip().lower()
    return zlib.decompressobj(wbits=47) if kind in ("gzip", "x-gzip", "deflate") else None


def _printable(value: str) -> str:
    """What can stand in a header of ours; an upstream may send bytes of any kind."""
    return "".join(character for character in value if " " <= character <= "~")
