"""Conditional requests and byte ranges of one representation, as RFC 9110 has them (13, 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_RANGE = re.compile(
    r"bytes=\s*(?:(\d{1,300})-(\d{0,300})|-(\d{1,300}))\s*", re.IGNORECASE | re.ASCII
)
_TAG = re.compile(r'(W/)?"[^"]*"')


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, but not including, `stop`."""

    start: int
    stop: int


class RangeNotSatisfiable(ValueError):
    """The range asks for none of the bytes that there are."""


def status_of_conditions(headers: Mapping[str, str], etag: str) -> Literal[200, 304, 412]:
    """What `If-Match` and `If-None-Match` make of a GET or HEAD. `etag` is a strong one."""
    if (given := headers.get("if-match")) is not None and not _has(given, etag, weak=False):
        return 412
    if (given := headers.get("if-none-match")) is not None and _has(given, etag, weak=True):
        return 304
    return 200


def byte_range(headers: Mapping[str, str], etag: str, size: int) -> ByteRange | None:
    """The range that a GET asks for; None for all bytes. Raises RangeNotSatisfiable.

    What is no single range of bytes is ignored, and so is a range of another representation.
    """
    found = _RANGE.fullmatch(headers.get("range", ""))
    if not found or headers.get("if-range", etag).strip() != etag:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable
    return ByteRange(start, stop)


def _has(given: str, etag: str, *, weak: bool) -> bool:
    """Is the tag in a list of tags, or the list `*`?"""
    if given.strip() == "*":
        return True
    tags = (found[0] for found in _TAG.finditer(given))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)
