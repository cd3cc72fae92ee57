"""Results kept for automatic retries, where the result store does not keep them.

An SDK that lost an answer sends the same request again; its user asked once and should pay
once. So the latest results are kept here for a while, within bounds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
Name = tuple[str, str]
"""The id of the caller's key, and the name of the request."""

KEPT_MS = 120_000
MOST_BYTES = 64 * 2**20
MOST_PROMISES = 10_000


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Result]):
    result: Result
    size: int
    until_ms: int


class RetryResults(Generic[Result]):
    """Kept results by request, and the requests that were told to come again."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Name, _Kept[Result]] = OrderedDict()
        self._promised: OrderedDict[Name, int] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        """The size of everything kept. A result counts once for every key that asked for it."""
        return self._bytes

    def keep(self, name: Name, result: Result, size: int, now_ms: int) -> None:
        """Keep a result of `size` bytes, unless it alone is too large."""
        self._drop(name)
        if size <= self._most_bytes:
            self._kept[name] = _Kept(result, size, now_ms + KEPT_MS)
            self._bytes += size
        while self._kept and self._must_drop(now_ms):
            self._drop(next(iter(self._kept)))

    def find(self, name: Name, now_ms: int) -> Result | None:
        """The result of the attempt before, if it is still kept."""
        kept = self._kept.get(name)
        return kept.result if kept and kept.until_ms > now_ms else None

    def drop(self, matches: Callable[[Result], bool]) -> None:
        """Drop the results that match."""
        for name in [name for name, kept in self._kept.items() if matches(kept.result)]:
            self._drop(name)

    def promise(self, name: Name, now_ms: int) -> None:
        """A client was told that the same request will join the running edit."""
        self._promised[name] = now_ms + KEPT_MS
        self._promised.move_to_end(name)
        while len(self._promised) > MOST_PROMISES:
            self._promised.popitem(last=False)

    def is_promised(self, name: Name, now_ms: int) -> bool:
        """Was this request told to come again? Changes nothing."""
        return self._promised.get(name, 0) > now_ms

    def was_promised(self, name: Name, now_ms: int) -> bool:
        """Was this request told to come again? Each promise counts once."""
        return self._promised.pop(name, 0) > now_ms

    def _must_drop(self, now_ms: int) -> bool:
        oldest = next(iter(self._kept.values()))
        return self._bytes > self._most_bytes or oldest.until_ms <= now_ms

    def _drop(self, name: Name) -> None:
        if kept := self._kept.pop(name, None):
            self._bytes -= kept.size
