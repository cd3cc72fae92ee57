"""What a streamed call brings on its way, for whoever waits for it in this process.

A relay belongs to a flight. It never waits for its hearers: it keeps the last few events, and
who is too slow for them misses the older ones, which the newer ones supersede anyway.
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
    """An event as it is sent; `place` counts the flight's events from 0."""

    place: int
    data: bytes
    is_partial: bool


class Broadcast:
    """A flight's events, those that are kept."""

    def __init__(self) -> None:
        self.away = False
        """The call goes upstream: whoever waits for this flight shares that call."""
        self.open = False
        """The upstream has taken the call and streams its answer."""
        self._kept: deque[BroadcastEvent] = deque()
        self._kept_bytes = 0
        self._next_place = 0
        self._hearers: set[asyncio.Event] = set()

    def left(self) -> None:
        """The call is on its way."""
        self.away = True

    def began(self) -> None:
        """The upstream begins to stream."""
        self.open = True
        self._notify()

    def take(self, event: Event) -> None:
        """Pass an event on, and keep it for who has not got there yet."""
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
        """The place of the last event so far, where a latecomer begins."""
        return max(0, self._next_place - 1)

    def since(self, place: int) -> list[BroadcastEvent]:
        """The events from this place on that are still kept."""
        return [passed for passed in self._kept if passed.place >= place]

    @contextmanager
    def subscribe(self, wakeup: asyncio.Event) -> Iterator[None]:
        """Set `wakeup` whenever there is something new."""
        self._hearers.add(wakeup)
        try:
            yield
        finally:
            self._hearers.discard(wakeup)

    def _notify(self) -> None:
        for wakeup in self._hearers:
            wakeup.set()
