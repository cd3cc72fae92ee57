"""An answer on its way in: its head, then its body in pieces, as its connection tells of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httptools

from gateway.server.protocol.uninitialised_bytes import blank

MOST_BETWEEN_BYTES = 100 * 1024
"""Of heads, trailers and framing at a stretch: what is no body is kept by the parser."""
_LARGE_BYTES = 64 * 1024
"""A body of this length or more is read into its place, past the parser."""
_COMPRESSED_BYTES = 16 * 1024
"""What is compressed is handed on in pieces of this size: each may become a thousand times it."""


class Incomplete(Exception):
    """The answer does not come to its end, or is none."""


class Reception:
    """One answer, told of by its connection.

    `begun` ends when its head is there. `chunks` is its body; one whose length is known, and is
    no more than `most_in_place`, comes as one chunk. Both raise what went wrong. `over` says that
    all of it has come, `reusable` that its connection may then serve again.
    """

    def __init__(self, most_in_place: int) -> None:
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.over = False
        self.reusable = False
        self._most_in_place = most_in_place
        self._error: Exception | None = None
        self._until_close = False
        self._compressed = False
        self._chunks: deque[bytes] = deque()
        self._news: asyncio.Future[None] | None = None
        self._between_bytes = 0
        self._came = False
        self._placed = b""
        self._place: memoryview | None = None
        self._placed_bytes = 0
        self._parser: Any = httptools.HttpResponseParser(self)

    # --- the caller's side ------------------------------------------------------------

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises what went wrong before its end."""
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self.over:
                return
            if self._error:
                raise self._error
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    def leave(self) -> None:
        """Nobody waits for it any more. The parser knows us as we know it: one has to let go."""
        self._parser = None
        if not self.begun.cancel() and not self.begun.cancelled():
            self.begun.exception()

    # --- the connection's side --------------------------------------------------------

    def room(self) -> memoryview | None:
        """Where the next bytes go, if they are a body's whose place is there already."""
        return None if self._place is None else self._place[self._placed_bytes :]

    def placed(self, count: int) -> None:
        """So many bytes have come into `room`."""
        self._placed_bytes += count
        if self._place is not None and self._placed_bytes == len(self._place):
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

    def fail(self, error: Exception) -> None:
        """No more of it will come, unless all of it has."""
        if self.over or self._error:
            return
        self._error = error
        if not self.begun.done():
            self.begun.set_exception(error)
        self._tell()

    # --- the parser's side ------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.over:
            self.reusable = False  # a second answer

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.status:
            return  # trailers, or a second answer
        if status < 200:
            self.headers = []  # an interim answer
            return
        self.status = status
        self.reusable = self._parser.should_keep_alive()
        said = {name.lower(): value for name, value in self.headers}
        self._compressed = b"content-encoding" in said
        plain = b"transfer-encoding" not in said
        length = said.get(b"content-length")
        self._until_close = plain and length is None and status not in (204, 304)
        size = int(length) if length and length.isdigit() and len(length) < 20 else 0
        if status in (204, 304):
            size = 0
        if plain and not self._compressed and _LARGE_BYTES <= size <= self._most_in_place:
            self._placed, self._place = blank(size)
        self.begun.set_result(None)

    def on_body(self, data: bytes) -> None:
        self._came = True
        if self.over:
            return  # of a second answer, which nobody has asked for
        if self._place is not None:
            start, self._placed_bytes = self._placed_bytes, self._placed_bytes + len(data)
            self._place[start : self._placed_bytes] = data
        elif self._compressed:
            starts = range(0, len(data), _COMPRESSED_BYTES)
            self._chunks.extend(data[start : start + _COMPRESSED_BYTES] for start in starts)
        else:
            self._chunks.append(data)
        self._tell()

    def on_message_complete(self) -> None:
        if self.status and not self.over:
            self._end()

    def _end(self) -> None:
        if self._place is not None:
            if self._placed_bytes < len(self._place):
                raise RuntimeError("an answer ended before its place was full")
            self._chunks.append(self._placed)
            self._placed, self._place = b"", None  # httpx may hold us until the next collection
        self.over = True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news and not news.done():
            news.set_result(None)
