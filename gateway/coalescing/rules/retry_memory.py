"""What an automatic retry may have of the attempt before it, where no store keeps it.

An SDK that lost an answer sends the same again; its user asked once and should pay once. So
the last landings that can't be found in the results are kept here for a while, within bounds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
Name = tuple[str, str]
"""The id of the key that asked, and the flight's."""

KEPT_MS = 120_000
MOST_BYTES = 64 * 2**20
MOST_PROMISES = 10_000


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Result]):
    result: Result
    size: int
    until_ms: int


class RetryMemory(Generic[Result]):
    """Landings by who asked for them, and who was told to ask again."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Name, _Kept[Result]] = OrderedDict()
        self._promised: OrderedDict[Name, int] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        """The size of everything kept; each landing counts once for every key that asked."""
        return self._bytes

    def keep(self, name: Name, result: Result, size: int, now_ms: int) -> None:
        """Keep a landing of so many bytes, unless it alone is too large."""
        self._drop(name)
        if size <= self._most_bytes:
            self._kept[name] = _Kept(result, size, now_ms + KEPT_MS)
            self._bytes += size
        while self._kept and self._is_to_go(now_ms):
            self._drop(next(iter(self._kept)))

    def find(self, name: Name, now_ms: int) -> Result | None:
        """The landing of the attempt before, if it is still kept."""
        kept = self._kept.get(name)
        return kept.result if kept and kept.until_ms > now_ms else None

    def promise(self, name: Name, now_ms: int) -> None:
        """Somebody was told to send the same again, and that it would join what is running."""
        self._promised[name] = now_ms + KEPT_MS
        self._promised.move_to_end(name)
        while len(self._promised) > MOST_PROMISES:
            self._promised.popitem(last=False)

    def is_promised(self, name: Name, now_ms: int) -> bool:
        """Will this one be taken for one that was told so? Changes nothing."""
        return self._promised.get(name, 0) > now_ms

    def was_promised(self, name: Name, now_ms: int) -> bool:
        """Was this one told so? Once for each time that it was."""
        return self._promised.pop(name, 0) > now_ms

    def _is_to_go(self, now_ms: int) -> bool:
        oldest = next(iter(self._kept.values()))
        return self._bytes > self._most_bytes or oldest.until_ms <= now_ms

    def _drop(self, name: Name) -> None:
        if kept := self._kept.pop(name, None):
            self._bytes -= kept.size
