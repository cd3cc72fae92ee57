"""Parses the framing of a multipart body as it arrives (RFC 7578).

The parser searches for delimiters, never byte by byte, and passes on the content between them as
views of its input. It keeps only the end of a piece that may be the start of a delimiter.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.model.errors import Refusal

LONGEST_BOUNDARY = 256
"""RFC 2046 allows 70."""
_LONGEST_PADDING = 256
MOST_LOOKALIKES = 1_000
"""How often the content may hold the boundary followed by other text. No client sends any, and
each costs a step: a body of nothing else would take a hundred times as long as a picture."""

_NOT_FOUND = "the boundary that Content-Type names is not at its beginning"

Find = Callable[[bytes, bytes, int], int]
"""The first position of a word in a text from an offset on, or -1: as `bytes.find`."""
Write = Callable[[bytes | memoryview], None]
"""Takes the next bytes of a part. May raise Refusal."""


class MultipartParser:
    """Calls `begin` with the header lines of each part, the function that `begin` returned with
    its content, and `end` when the part is complete. All three may raise Refusal.
    """

    def __init__(
        self,
        boundary: bytes,
        begin: Callable[[bytes], Write],
        end: Callable[[], None],
        max_header_bytes: int,
        find: Find = bytes.find,
    ) -> None:
        """Raises Refusal for an invalid boundary."""
        if not boundary:
            message = "Content-Type names no boundary. Let the client library set Content-Type."
            raise Refusal("invalid_multipart", message)
        if len(boundary) > LONGEST_BOUNDARY:
            raise malformed("the boundary in Content-Type is too long")
        self._delimiter = b"\r\n--" + boundary
        self._begin = begin
        self._write: Write | None = None
        self._end_part = end
        self._max_header_bytes = max_header_bytes
        self._waiting = b""
        self._find = find
        self._lookalikes = 0
        self._step = (
            MultipartParser._start
        )  # unbound: a reference cycle would keep the upload until a collection
        self.ended = False

    def feed(self, piece: bytes) -> None:
        """Parse the next bytes. Raises Refusal."""
        data = self._waiting + piece if self._waiting else piece
        self._waiting = b""
        at: int | None = 0
        while at is not None:
            at = self._step(self, data, at)

    def finish(self) -> None:
        """The body is complete. Raises Refusal if its closing delimiter is missing."""
        if self._step is MultipartParser._start:
            raise malformed(_NOT_FOUND)
        if not self.ended:
            raise Refusal(
                "invalid_multipart",
                "The multipart body ends without its closing delimiter, the boundary between two "
                "pairs of dashes: --BOUNDARY--. Either the upload was cut short, or the client "
                "does not write one, such as UnityWebRequest.Post with form sections: add it.",
            )

    # Each step takes the data and an offset, and returns the offset for the next step, or None
    # if it needs more data. Unused bytes stay in `_waiting`.

    def _start(self, data: bytes, at: int) -> int | None:
        """The first delimiter; a short preamble may precede it, and is skipped."""
        opening, rest = self._delimiter[2:], data.lstrip(b"\r\n")
        start = len(data) - len(rest)
        if not rest.startswith(opening):
            start = self._find(data, self._delimiter, 0) + 2
            if start > self._max_header_bytes or (start < 2 and len(data) > self._max_header_bytes):
                raise malformed(_NOT_FOUND)
            if start < 2:
                self._waiting = data
                return None
        self._step = MultipartParser._first
        return start + len(opening)

    def _first(self, data: bytes, at: int) -> int | None:
        return self._after_delimiter(data, at, at, within=False)

    def _headers(self, data: bytes, at: int) -> int | None:
        """The headers of a part, up to the empty line after them."""
        if data.startswith(b"\r\n", at):
            end, after = at, at + 2
        else:
            end = data.find(b"\r\n\r\n", at, at + self._max_header_bytes + 4)
            after = end + 4
        if end < 0:
            if len(data) - at > self._max_header_bytes:
                raise bad_part(f"has more than {self._max_header_bytes} bytes of headers")
            self._waiting = data[at:]
            return None
        self._write = self._begin(data[at:end])
        self._step = MultipartParser._content
        return after

    def _content(self, data: bytes, at: int) -> int | None:
        """The content of a part, up to the next delimiter."""
        found = self._find(data, self._delimiter, at)
        while found >= 0:
            behind = found + len(self._delimiter)
            after = self._after_delimiter(data, behind, found, within=True, since=at)
            if after != -1:
                return after
            self._lookalikes += 1
            if self._lookalikes > MOST_LOOKALIKES:
                raise malformed("its content repeats its own boundary too often")
            found = self._find(data, self._delimiter, found + 1)
        self._keep_from(data, self._may_begin(data, at), at)
        return None

    def _after_delimiter(
        self, data: bytes, behind: int, found: int, *, within: bool, since: int = 0
    ) -> int | None:
        """Another part or the end follows a delimiter; -1 if it is no delimiter."""
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
            raise malformed("its first boundary is followed by other text")
        if after is None:
            self._keep_from(data, found, since if within else found)
            return None
        if within:
            self._pass_on(data, since, found)
            self._end_part()
        self._step = MultipartParser._end if line == b"--" else MultipartParser._headers
        self.ended = line == b"--"
        return after

    def _after_padding(self, data: bytes, behind: int) -> int | None:
        """Blanks may follow a delimiter on its line."""
        after: int | None
        padding, line_end, _ = data[behind : behind + _LONGEST_PADDING].partition(b"\r\n")
        if line_end:
            after = behind + len(padding) + 2
        elif len(padding) < _LONGEST_PADDING:
            padding, after = padding.removesuffix(b"\r"), None
        else:
            raise malformed("a boundary is followed by too many blanks")
        if padding.strip(b" \t"):
            raise malformed("a boundary is followed by other text")
        return after

    def _end(self, data: bytes, at: int) -> None:
        """Bytes after the closing boundary are ignored."""

    def _may_begin(self, data: bytes, at: int) -> int:
        """Where the start of a delimiter may be at the end of the data, else the data's length."""
        start = data.find(b"\r", max(at, len(data) - len(self._delimiter) + 1))
        while start >= 0 and not self._delimiter.startswith(data[start:]):
            start = data.find(b"\r", start + 1)
        return len(data) if start < 0 else start

    def _keep_from(self, data: bytes, start: int, since: int) -> None:
        self._pass_on(data, since, start)
        self._waiting = data[start:]

    def _pass_on(self, data: bytes, start: int, end: int) -> None:
        if start < end and self._write is not None:
            whole = end - start == len(data)
            self._write(data if whole else memoryview(data)[start:end])


def malformed(why: str) -> Refusal:
    """A body whose framing violates RFC 7578."""
    return Refusal("invalid_multipart", f"The multipart body is malformed: {why}.")


def bad_part(why: str) -> Refusal:
    """A part that is not accepted."""
    return Refusal("invalid_multipart", f"A part of the multipart body {why}.")
