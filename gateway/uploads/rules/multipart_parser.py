"""The framing of a multipart body as it arrives: parts, their headers, their bytes (RFC 7578).

It goes from delimiter to delimiter, never from byte to byte, and hands on what lies between
as views of what it was given. What may begin a delimiter at the end of a piece waits for the
next one; nothing else is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from gateway.model.errors import Refusal

LONGEST_BOUNDARY = 256
"""RFC 2046 allows 70."""
_LONGEST_PADDING = 256
MOST_LOOKALIKES = 1_000
"""How often a body's contents may hold its boundary with something behind it. No client's do,
and each costs a look: a body of nothing else would take a hundred times as long as a picture."""
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


Find = Callable[[bytes, bytes, int], int]
"""Where in a text a word first is from a place on, or -1: what `bytes.find` does."""


class PartEvents(Protocol):
    """Who is told of the parts. Any method may raise Refusal."""

    def begin(self, head: bytes) -> None:
        """A part begins; `head` is its lines of headers, for `headers_of`."""
        ...

    def data(self, piece: bytes | memoryview) -> None:
        """Some of its bytes."""
        ...

    def end(self) -> None:
        """It is whole."""
        ...


class MultipartParser:
    """Where a multipart body has got to."""

    def __init__(
        self, boundary: bytes, parts: PartEvents, max_header_bytes: int, find: Find = bytes.find
    ) -> None:
        """Raises Refusal for a boundary that can't be one."""
        if not 0 < len(boundary) <= LONGEST_BOUNDARY:
            raise broken("the boundary in Content-Type is too long")
        self._delimiter = b"\r\n--" + boundary
        self._parts = parts
        self._max_header_bytes = max_header_bytes
        self._waiting = b""
        self._find = find
        self._lookalikes = 0
        self._step = (
            MultipartParser._start
        )  # unbound: a cycle would keep all of it until a collection
        self.ended = False
        """The closing boundary has come."""

    def feed(self, piece: bytes) -> None:
        """The next bytes. Raises Refusal."""
        data = self._waiting + piece if self._waiting else piece
        self._waiting = b""
        at: int | None = 0
        while at is not None:
            at = self._step(self, data, at)

    # Each step takes the data and where it has got to, and gives where the next one goes on;
    # None where it needs more, with what it has not used in `_waiting`.

    def _start(self, data: bytes, at: int) -> int | None:
        """The first delimiter; empty lines may stand before it."""
        rest = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
        opening = self._delimiter[2:]
        if len(rest) < len(opening):
            if not opening.startswith(rest):
                raise broken("it does not begin with the boundary that Content-Type names")
            self._waiting = rest
            return None
        if not rest.startswith(opening):
            raise broken("it does not begin with the boundary that Content-Type names")
        self._step = MultipartParser._first
        return len(data) - len(rest) + len(opening)

    def _first(self, data: bytes, at: int) -> int | None:
        return self._after_delimiter(data, at, at, within=False)

    def _headers(self, data: bytes, at: int) -> int | None:
        """A part's headers, up to the empty line behind them."""
        if data.startswith(b"\r\n", at):
            end, after = at, at + 2
        else:
            end = data.find(b"\r\n\r\n", at, at + self._max_header_bytes + 4)
            after = end + 4
        if end < 0:
            if len(data) - at > self._max_header_bytes:
                raise _bad_part(f"has more than {self._max_header_bytes} bytes of headers")
            self._waiting = data[at:]
            return None
        self._parts.begin(data[at:end])
        self._step = MultipartParser._content
        return after

    def _content(self, data: bytes, at: int) -> int | None:
        """A part's bytes, up to the next delimiter."""
        found = self._find(data, self._delimiter, at)
        while found >= 0:
            behind = found + len(self._delimiter)
            after = self._after_delimiter(data, behind, found, within=True, since=at)
            if after != -1:
                return after
            self._lookalikes += 1
            if self._lookalikes > MOST_LOOKALIKES:
                raise broken("its contents are full of its own boundary")
            found = self._find(data, self._delimiter, found + 1)
        self._keep_from(data, self._may_begin(data, at), at)
        return None

    def _after_delimiter(
        self, data: bytes, behind: int, found: int, *, within: bool, since: int = 0
    ) -> int | None:
        """What stands behind a delimiter: another part, the end, or (-1) that it is none."""
        line = data[behind : behind + 2]
        after: int | None
        if line == b"\r\n":
            after = behind + 2
        elif line == b"--":
            after = len(data)
        elif line[:1] in (b" ", b"\t"):
            after = self._after_padding(data, behind)
        elif line in (b"", b"\r", b"-"):
            after = None
        elif within:
            return -1
        else:
            raise broken("something stands behind its first boundary")
        if after is None:
            self._keep_from(data, found, since if within else found)
            return None
        if within:
            self._hand_on(data, since, found)
            self._parts.end()
        self._step = MultipartParser._end if line == b"--" else MultipartParser._headers
        self.ended = line == b"--"
        return after

    def _after_padding(self, data: bytes, behind: int) -> int | None:
        """Blanks may stand between a delimiter and its line's end."""
        after: int | None
        padding, line_end, _ = data[behind : behind + _LONGEST_PADDING].partition(b"\r\n")
        if line_end:
            after = behind + len(padding) + 2
        elif len(padding) < _LONGEST_PADDING:
            padding, after = padding.removesuffix(b"\r"), None
        else:
            raise broken("too much stands behind a boundary")
        if padding.strip(b" \t"):
            raise broken("something stands behind a boundary")
        return after

    def _end(self, data: bytes, at: int) -> None:
        """What follows the closing boundary is nobody's."""

    def _may_begin(self, data: bytes, at: int) -> int:
        """Where, at the end of the data, a delimiter may have begun; the data's end if none has."""
        start = data.find(b"\r", max(at, len(data) - len(self._delimiter) + 1))
        while start >= 0 and not self._delimiter.startswith(data[start:]):
            start = data.find(b"\r", start + 1)
        return len(data) if start < 0 else start

    def _keep_from(self, data: bytes, start: int, since: int) -> None:
        self._hand_on(data, since, start)
        self._waiting = data[start:]

    def _hand_on(self, data: bytes, start: int, end: int) -> None:
        if start < end:
            whole = end - start == len(data)
            self._parts.data(data if whole else memoryview(data)[start:end])


def headers_of(head: bytes) -> dict[bytes, bytes]:
    """A part's headers by their lower-case names. Raises Refusal."""
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n") if head else ():
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise broken("a header of a part is none")
        if _CONTROL.search(value):
            raise _bad_part("has control characters in a header")
        name = name.lower()
        if name in headers:
            raise _bad_part("has the same header twice")
        headers[name] = value.strip(b" \t")
    return headers


def broken(why: str) -> Refusal:
    """A body that is not framed as RFC 7578 says."""
    return Refusal("invalid_multipart", f"The multipart body is broken: {why}.")


def _bad_part(why: str) -> Refusal:
    return Refusal("invalid_multipart", f"A part of the multipart body {why}.")
