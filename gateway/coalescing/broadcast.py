"""The events of a streamed call, for the requests of this process that wait for it.

A broadcast belongs to a flight. It never waits for its subscribers: it keeps the last few
events, and a slow subscriber misses older ones, which newer ones supersede.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.wire.events import Event, kind_of

MOST_EVENTS = 8
MOST_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class BroadcastEvent:
    """An event as sent to clients; `place` counts the flight's events from 0."""

    place: int
    data: bytes
    is_partial: bool


class Broadcast:
    """The events of one flight."""

    def __init__(self) -> None:
        self.is_sent = False
        """The call has left for the upstream, and followers share it."""
        self.upstream, self.key = "", ""
        """The name of the upstream that was called last, and the fingerprint of the edit there."""
        self.is_open = False
        """The upstream streams its answer."""
        self._kept: deque[BroadcastEvent] = deque()
        self._kept_bytes = 0
        self._next_place = 0
        self._subscribers: set[asyncio.Event] = set()

    def sent(self, upstream: str, key: str) -> None:
        """A call leaves for an upstream."""
        self.is_sent, self.upstream, self.key = True, upstream, key

    def open(self) -> None:
        """The upstream starts to stream."""
        self.is_open = True
        self._notify()

    def publish(self, event: Event) -> None:
        """Keep an event for every subscriber."""
        passed = BroadcastEvent(self._next_place, event.encode(), kind_of(event) == "partial")
        self._next_place += 1
        self._kept.append(passed)
        self._kept_bytes += len(passed.data)
        while len(self._kept) > MOST_EVENTS or (
            self._kept_bytes > MOST_BYTES and len(self._kept) > 1
        ):
            self._kept_bytes -= len(self._kept.popleft().data)
        self._notify()

    @property
    def now(self) -> int:
        """The place of the latest event, where a new follower begins."""
        return max(0, self._next_place - 1)

    def since(self, place: int) -> list[BroadcastEvent]:
        """The kept events from this place on."""
        return [passed for passed in self._kept if passed.place >= place]

    @contextmanager
    def subscribe(self, wakeup: asyncio.Event) -> Iterator[None]:
        """Set `wakeup` whenever something is new."""
        self._subscribers.add(wakeup)
        try:
            yield
        finally:
            self._subscribers.discard(wakeup)

    def _notify(self) -> None:
        for wakeup in self._subscribers:
            wakeup.set()
