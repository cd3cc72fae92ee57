"""The pictures of an answer, each by its place in `data`: read, and replaced by URLs."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

from gateway.wire.json_cutter import LongString, Number, Segment, cut, write

_HEAD_CHARS = 160
_DATA_URL = re.compile(rb"data:[\w/+.-]{1,40};base64,")


def picture_at(body: bytes, place: int) -> bytes | None:
    """The picture at this place of an answer; None where it holds none there. Slow: megabytes."""
    try:
        tree, long_strings = cut(body)
        return b64decode(_DATA_URL.sub(b"", _base64(_data(tree)[place], long_strings), count=1))
    except (ValueError, IndexError):
        return None


def heads_at(body: bytes) -> list[bytes]:
    """The first bytes of each item of an answer; none of an item without a picture. Slow."""
    try:
        tree, long_strings = cut(body)
        items = [item if isinstance(item, dict) else {} for item in _data(tree)]
    except ValueError:
        return []
    return [head_of(item.get("b64_json", ""), long_strings) for item in items]


def with_urls(body: bytes, url_of: Callable[[int, bytes], str]) -> bytes:
    """The answer with URLs in place of its pictures. `url_of` takes a picture's place and head."""
    tree, long_strings = cut(body)

    def linked(place: int, item: Any) -> Any:
        if not isinstance(item, dict) or not is_given(item.get("b64_json")):
            return item
        url = url_of(place, head_of(item["b64_json"], long_strings))
        return {"url": url, **{name: v for name, v in item.items() if name != "b64_json"}}

    data = [linked(place, item) for place, item in enumerate(_data(tree))]
    return b"".join(write({**tree, "data": data}, long_strings))


def head_of(base64_text: object, long_strings: Sequence[Segment]) -> bytes:
    """The first bytes of a picture; none where its text is no base64."""
    if isinstance(base64_text, LongString):
        start = bytes(long_strings[base64_text.index][:_HEAD_CHARS]).replace(b"\\/", b"/")
    else:
        start = str(base64_text)[:_HEAD_CHARS].encode()
    start = _DATA_URL.sub(b"", start)
    try:
        return b64decode(start[: len(start) // 4 * 4])
    except ValueError:
        return b""


def text_of(value: object, long_strings: Sequence[Segment]) -> str:
    """The text of a string, whether it was cut out or not; "" where it is no JSON."""
    if not isinstance(value, LongString):
        return str(value)
    try:
        return str(json.loads(b'"%b"' % bytes(long_strings[value.index])))
    except ValueError:
        return ""


def is_given(value: object) -> bool:
    """Is it a text that is not empty?"""
    if isinstance(value, LongString):
        return True
    return isinstance(value, str) and not isinstance(value, Number) and value != ""


def _data(tree: Any) -> list[Any]:
    data = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(data, list):
        raise ValueError("an answer is to hold pictures")
    return data


def _base64(item: Any, long_strings: Sequence[Segment]) -> bytes:
    text = item.get("b64_json") if isinstance(item, dict) else None
    if not is_given(text):
        raise ValueError("there is no picture")
    if isinstance(text, LongString) and b"\\" not in (raw := bytes(long_strings[text.index])):
        return raw
    return text_of(text, long_strings).encode()
