"""Single flight: one upstream call per edit, owned by the app and not by any request.

The first request leads, identical requests follow and share the result. A client that leaves
abandons its wait, never the flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.coalescing.broadcast import Broadcast
from gateway.telemetry.spans import NO_SPAN, Span

Result = TypeVar("Result")


@dataclass(eq=False)
class Flight(Generic[Result]):
    """One flight in progress. `task` gives its result and never raises a refusal."""

    key: str
    task: asyncio.Task[Result]
    broadcast: Broadcast
    span: Span = NO_SPAN
    followers: int = 0


class SingleFlight(Generic[Result]):
    """Every flight of this process."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight[Result]] = {}
        self._in_flight: set[asyncio.Task[Result]] = set()

    def is_in_flight(self, key: str) -> bool:
        """Is there a flight of this key to follow?"""
        return key in self._by_key

    def follow(self, keys: Iterable[str]) -> Flight[Result] | None:
        """Follow the first flight in progress of these keys, if there is one."""
        if flight := next((self._by_key[key] for key in keys if key in self._by_key), None):
            flight.followers += 1
        return flight

    def start(
        self,
        run: Callable[[], Coroutine[None, None, Result]],
        key: str = "",
        broadcast: Broadcast | None = None,
        span: Span = NO_SPAN,
    ) -> Flight[Result]:
        """Start a flight. A flight with an empty key cannot be followed."""
        task = asyncio.create_task(run())
        flight = Flight(key, task, broadcast or Broadcast(), span)
        self._in_flight.add(task)
        if key:
            self._by_key[key] = flight
        task.add_done_callback(lambda _: self._ended(flight))
        return flight

    def _ended(self, flight: Flight[Result]) -> None:
        self._in_flight.discard(flight.task)
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]

    @property
    def in_flight(self) -> int:
        """The number of flights in progress."""
        return len(self._in_flight)

    @property
    def followers(self) -> int:
        """The number of requests that follow another one's flight."""
        return sum(flight.followers for flight in self._by_key.values())

    async def drain(self, seconds: float) -> int:
        """Wait for every flight. Returns how many are left when the time is over."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=seconds)
        return len(self._in_flight)
