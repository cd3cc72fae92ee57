"""JSON whose long strings are cut out by byte search and never parsed.

Parsing 16 MB of base64 as JSON holds the interpreter for 50 ms; finding its quotes takes less
than one. What is left of the text without its long strings is small, and is parsed as usual,
with numbers kept as the text they were written in.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Segment = bytes | memoryview
Content = TypeVar("Content")
Pairs = Callable[[list[tuple[str, Any]]], Mapping[str, Any]]

_quoted = json.encoder.encode_basestring_ascii
"""A text as JSON, as `json.dumps` has it."""
_BACKSLASH = 0x5C
_DEEPEST = 64
MOST_VALUES = 10_000
"""The strings and values of an answer, which is parsed at once: some 10 ms of work."""
_MOST_TEXT_BYTES = 1 << 20
_CHECKED_AT_ONCE = 1 << 18
_PICTURE_NAMES = frozenset({"data", "b64_json", "url"})


class Number(str):
    """A number as it was written: `0.010` stays `0.010`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LongString:
    """The place of a string that was cut out: the `index`-th of the text, from 0."""

    index: int


@dataclass(frozen=True, slots=True)
class StringPart:
    """Some bytes of a long string, with its escapes."""

    index: int
    data: Segment
    last: bool


class Cutter:
    """Takes JSON text in pieces of any size; keeps short strings, yields long ones.

    Strings of more than `longest` bytes that begin with one of `prefixes` are yielded;
    `text_bytes` and `members` are the amount kept, for a caller to bound.
    """

    def __init__(
        self,
        *,
        longest: int,
        prefixes: tuple[bytes, ...] = (b"",),
        most_quotes: int = sys.maxsize,
    ) -> None:
        self._longest = longest
        self._prefixes = prefixes
        self._quotes_left = most_quotes
        self._text = bytearray()
        self._cut_at: list[int] = []
        self._opened = 0
        self._inside = False
        self._cutting = False
        self._escape_open = False

    @property
    def text_bytes(self) -> int:
        return len(self._text)

    @property
    def members(self) -> int:
        """At least as many as there are values in the text."""
        return self._text.count(b",") + self._text.count(b"[") + self._text.count(b"{")

    @property
    def whole(self) -> bool:
        """False where the text ended inside a string."""
        return not self._inside

    def feed(self, data: bytes) -> Iterator[StringPart]:
        """Take the next bytes; to be exhausted before the next call.

        Raises ValueError for more than `most_quotes`, escaped ones included.
        """
        view, position = memoryview(data), 0
        while position < len(data):
            self._count_quote()
            if self._inside:
                close = self._closing_quote(data, position)
                stop = len(data) if close is None else close
                yield from self._content(view[position:stop], last=close is not None)
                position = stop + 1
                continue
            quote = data.find(b'"', position)
            close = data.find(b'"', quote + 1, quote + self._longest + 2) if quote >= 0 else -1
            if close >= 0 and data[close - 1] != _BACKSLASH:  # a whole string, and a short one
                self._text += view[position : close + 1]
                position = close + 1
                continue
            stop = len(data) if quote < 0 else quote
            self._text += view[position:stop]
            position = stop + 1
            if quote >= 0:
                self._open()

    def _open(self) -> None:
        self._inside, self._cutting, self._escape_open = True, False, False
        self._text += b'"'
        self._opened = len(self._text)

    def _count_quote(self) -> None:
        self._quotes_left -= 1
        if self._quotes_left < 0:
            raise ValueError("too many strings")

    def _closing_quote(self, data: bytes, start: int) -> int | None:
        """The next unescaped quote, or None if it has not arrived."""
        while True:
            self._count_quote()
            quote = data.find(b'"', start)
            stop = len(data) if quote < 0 else quote
            escaped = self._ends_in_escape(data, start, stop)
            if quote < 0:
                self._escape_open = escaped
                return None
            self._escape_open = False
            if not escaped:
                return quote
            start = quote + 1

    def _ends_in_escape(self, data: bytes, start: int, stop: int) -> bool:
        """Do the bytes before `stop` end in an odd number of backslashes?"""
        if stop > start and data[stop - 1] != _BACKSLASH:
            return False
        run = stop - start - len(data[start:stop].rstrip(b"\\"))
        carried = self._escape_open and run == stop - start
        return (run + carried) % 2 == 1

    def _content(self, content: memoryview, *, last: bool) -> Iterator[StringPart]:
        if not self._cutting and self._is_to_be_cut(content):
            held = bytes(self._text[self._opened :])
            del self._text[self._opened - 1 :]
            self._cut_at.append(len(self._text))
            self._cutting = True
            if held:
                yield StringPart(len(self._cut_at) - 1, held, last=False)
        if self._cutting:
            yield StringPart(len(self._cut_at) - 1, content, last)
        else:
            self._text += content
        if last:
            self._inside = False
            self._text += b"" if self._cutting else b'"'

    def _is_to_be_cut(self, content: memoryview) -> bool:
        held = len(self._text) - self._opened
        if held + len(content) <= self._longest:
            return False
        wanted = max(map(len, self._prefixes))
        start = self._text[self._opened : self._opened + wanted] + content[:wanted]
        return start.startswith(self._prefixes)

    def parse(self, *, pairs: Pairs = dict, constant: Callable[[str], Any] = Number) -> Any:
        """The document with a `LongString` for each one cut out. Raises ValueError.

        `pairs` makes an object of its members, `constant` a value of NaN and the infinities.
        """
        if not self.whole:
            raise ValueError("the text ends inside a string")
        marker = b"e-00000"
        while marker in self._text:
            marker += b"0"
        return _loads(self._with_placeholders(marker), marker.decode("ascii"), pairs, constant)

    def _with_placeholders(self, marker: bytes) -> bytes:
        """The text with a number in place of each long string, marked unlike any number in it."""
        pieces: list[Segment] = []
        start, view = 0, memoryview(self._text)
        for index, stop in enumerate(self._cut_at):
            pieces += (view[start:stop], b" %d%b " % (index, marker))
            start = stop
        return b"".join([*pieces, view[start:]])


def _loads(text: bytes, marker: str, pairs: Pairs, constant: Callable[[str], Any]) -> Any:
    def number(written: str) -> Number | LongString:
        if written.endswith(marker):
            return LongString(int(written.removesuffix(marker)))
        return Number(written)

    try:
        return json.loads(
            text.decode("utf-8-sig"),
            parse_float=number,
            parse_int=Number,
            parse_constant=constant,
            object_pairs_hook=pairs,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None


def check_marks(text: bytes, most: int) -> None:
    """Raises ValueError if parsing a text takes too much time and memory."""
    found = 0
    for start in range(0, len(text), _CHECKED_AT_ONCE):
        found += sum(text.count(mark, start, start + _CHECKED_AT_ONCE) for mark in b'",[{')
        if found > most:
            raise ValueError("too many values")


def without_repeated(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """The members of an object; a name that is repeated is left out, since its value is unclear.

    A repeated cost is therefore unknown. Of a repeated picture the last one counts, as clients
    read it.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        for name in counts.keys() - _PICTURE_NAMES:
            if counts[name] > 1:
                del members[name]
    return members


def cut(text: bytes, longest: int = 1_024) -> tuple[Any, list[Segment]]:
    """An answer and its long strings, for `write`; without repeated names.

    Raises ValueError where it is not JSON, or has too many values. A long string as a name leaves
    no valid text behind it: that rare document is parsed whole.
    """
    cutter = Cutter(longest=longest, most_quotes=MOST_VALUES)
    long_strings = [piece.data for piece in cutter.feed(text)]
    if cutter.text_bytes > _MOST_TEXT_BYTES or cutter.members > MOST_VALUES:
        raise ValueError("too many values")
    try:
        return cutter.parse(pairs=without_repeated), long_strings
    except ValueError:
        if not cutter.whole or not long_strings or len(text) > _MOST_TEXT_BYTES:
            raise
        check_marks(text, MOST_VALUES)
    return plain_parse(text, without_repeated), []


def plain_parse(text: bytes, pairs: Pairs = dict) -> Any:
    """Parse without cutting anything, numbers kept as written. Raises ValueError."""
    return _loads(text, "\0", pairs, Number)


def write(value: Any, long_strings: Sequence[Content]) -> list[bytes | Content]:
    """Compact JSON text of a document in pieces, with the content of every long string.

    Raises ValueError beyond 64 levels.
    """
    text: list[bytes | Content] = []
    _write(value, long_strings, text, 0)
    return text


def _write(
    value: Any, long_strings: Sequence[Content], text: list[bytes | Content], depth: int
) -> None:
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if isinstance(value, Number):
        text.append(value.encode("ascii"))
    elif isinstance(value, str):
        text.append(_quoted(value).encode("ascii"))
    elif isinstance(value, LongString):
        text += (b'"', long_strings[value.index], b'"')
    elif isinstance(value, Mapping):
        comma = b"{"
        for name, member in value.items():
            text.append(comma + _quoted(name).encode("ascii") + b":")
            _write(member, long_strings, text, depth + 1)
            comma = b","
        text.append(b"}" if value else b"{}")
    elif isinstance(value, list):
        comma = b"["
        for member in value:
            text.append(comma)
            _write(member, long_strings, text, depth + 1)
            comma = b","
        text.append(b"]" if value else b"[]")
    else:
        text.append(json.dumps(value).encode("ascii"))


def compact(value: Any) -> str:
    """Compact JSON text of a document without long strings. Raises ValueError beyond 64 levels."""
    nothing: tuple[bytes, ...] = ()
    return b"".join(write(value, nothing)).decode("ascii")
