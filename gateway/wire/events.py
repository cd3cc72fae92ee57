"""Server-sent events of a streamed picture: read, told apart, and made.

Events are written out in our own framing; their data stays as it came. Pictures in them are
never parsed: see `json_cutter`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway.model.edit import Route
from gateway.wire.json_cutter import LongString, Segment, cut, write

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = b": keep-alive\n\n"
"""A comment: every client passes over it, and the connection is not idle."""

Kind = Literal["partial", "completed", "error", "other"]

_KINDS: Mapping[str, Kind] = {
    "image_edit.partial_image": "partial",
    "image_edit.completed": "completed",
    "image_generation.partial_image": "partial",
    "image_generation.completed": "completed",
}
NAMES = tuple(_KINDS)
"""The events of pictures; others are passed over."""
_COMPLETED: Mapping[Route, str] = {
    "edits": "image_edit.completed",
    "generations": "image_generation.completed",
}
_MOST_DATA_LINES = 10_000
_LINE_END = re.compile(rb"\r\n|\r|\n")
_OF_THE_PICTURE = ("b64_json", "url", "revised_prompt")
_FORMATS: Mapping[bytes, str] = {b"iVBORw0K": "png", b"/9j/": "jpeg", b"UklGR": "webp"}
"""How each format's first bytes look in base64."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is empty where it had none, and lines of `data` are joined by LF."""

    name: str
    data: bytes

    def encode(self) -> bytes:
        """The event as it is sent."""
        pieces = [b"event: ", self.name.encode(), b"\n"] if self.name else []
        for line in _LINE_END.split(self.data) if _has_line_end(self.data) else (self.data,):
            pieces += (b"data: ", line, b"\n")
        return b"".join((*pieces, b"\n"))


class TooLarge(ValueError):
    """An event larger than is taken."""


class EventParser:
    """Takes a stream in pieces of any size; holds at most one event of `max_event_bytes`.

    Lines end in LF, CRLF or CR; comments and fields other than `event` and `data` are passed
    over, and an event that the stream breaks off in is none.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []
        self._name = ""
        self._data: list[memoryview] = []
        self._data_bytes = 0
        self._held_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in these bytes. Raises TooLarge."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk, self._after_cr = chunk[1:], False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        found = []
        for piece in chunk.splitlines(keepends=True) if _has_line_end(chunk) else (chunk,):
            content = piece.rstrip(b"\r\n")
            self._hold(content)
            if len(content) < len(piece) and (event := self._line_ended()):
                found.append(event)
        return found

    def _hold(self, content: bytes) -> None:
        self._held_bytes += len(content)
        if self._held_bytes > self._max_event_bytes:
            raise TooLarge(f"an event is larger than {self._max_event_bytes} bytes")
        self._line.append(content)

    def _line_ended(self) -> Event | None:
        line = b"".join(self._line)
        self._line.clear()
        if self._at_start:
            line, self._at_start = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            return self._event_ended()
        colon = line.find(b":")
        name = line if colon < 0 else line[:colon]
        value = memoryview(line)[len(name) + 1 + line.startswith(b" ", colon + 1) :]
        if name == b"data":
            self._data.append(value)
            if len(self._data) > _MOST_DATA_LINES:
                raise TooLarge(f"an event has more than {_MOST_DATA_LINES} lines")
            self._data_bytes += len(value)
            return None
        if name == b"event":
            self._name = str(value, "utf-8", "replace")
        self._held_bytes = self._data_bytes
        return None

    def _event_ended(self) -> Event | None:
        name, data = self._name, b"\n".join(self._data)
        self._name, self._data_bytes, self._held_bytes = "", 0, 0
        self._data.clear()
        return Event(name, data) if data else None


def _has_line_end(data: bytes) -> bool:
    """Much faster than to look for lines, and within a picture there are none."""
    return b"\n" in data or b"\r" in data


def kind_of(event: Event) -> Kind | None:
    """What an event is to a stream of pictures; None where no client could read it.

    An `error` in the data counts above all, then the data's `type`, then the event's name, as
    the official SDKs have it. A completed event that is no JSON is one all the same: the
    stream has ended with it.
    """
    try:
        document, _ = cut(event.data)
    except ValueError:
        return "completed" if _KINDS.get(event.name) == "completed" else None
    if not isinstance(document, dict):
        return None
    told = document.get("type")
    if document.get("error") or "error" in (told, event.name):
        return "error"
    return _KINDS.get(told if isinstance(told, str) else event.name, "other")


def plain_body(completed: Event, model: str) -> bytes:
    """The answer without streaming that says what a completed event says.

    Raises ValueError where the event is no JSON object. `model` stands in it where the event
    names none, as in the upstream's own plain answers.
    """
    document, pictures = cut(completed.data)
    if not isinstance(document, dict):
        raise ValueError("a completed event is to be an object")
    rest = {name: value for name, value in document.items() if name not in ("type", "created_at")}
    picture = {name: rest.pop(name) for name in _OF_THE_PICTURE if name in rest}
    created = {"created": document["created_at"]} if "created_at" in document else {}
    body = {**created, "model": model, "data": [{**picture, "index": 0}], **rest}
    return b"".join(write(body, pictures))


def completed_events(body: bytes, route: Route) -> bytes:
    """The events that say what a plain answer says: a completed one for each of its pictures.

    What the answer costs is told once, in the last. Raises ValueError where the answer is no
    JSON object that holds pictures.
    """
    document, pictures = cut(body)
    data = document.get("data") if isinstance(document, dict) else None
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    if not items:
        raise ValueError("an answer is to hold pictures")
    usage = {"usage": document["usage"]} if "usage" in document else {}
    name, events = _COMPLETED[route], []
    for left, item in zip(reversed(range(len(items))), items, strict=True):
        told = {"type": name, **_members(document, item, pictures), **({} if left else usage)}
        events.append(Event(name, b"".join(write(told, pictures))).encode())
    return b"".join(events)


def error_event(envelope: bytes) -> bytes:
    """How a stream that has begun says that it failed; takes `{"error": {…}}`."""
    return Event("", envelope).encode()


def _members(
    document: Mapping[str, Any], item: Mapping[str, Any], pictures: list[Segment]
) -> dict[str, Any]:
    """A completed event's members less its usage; those that SDKs expect are always there."""
    members = {name: value for name, value in item.items() if name != "index"}
    if "created" in document:
        members["created_at"] = document["created"]
    members |= {"size": "auto", "quality": "auto", "background": "auto"}
    if picture_format := _format(item.get("b64_json"), pictures):
        members["output_format"] = picture_format
    told_elsewhere = ("type", "created", "data", "usage")
    return members | {n: value for n, value in document.items() if n not in told_elsewhere}


def _format(picture: object, pictures: list[Segment]) -> str | None:
    """The format of a base64 picture, by its first bytes."""
    if isinstance(picture, LongString):
        start = bytes(pictures[picture.index][:8])
    else:
        start = picture[:8].encode() if isinstance(picture, str) else b""
    return next((name for magic, name in _FORMATS.items() if start.startswith(magic)), None)
