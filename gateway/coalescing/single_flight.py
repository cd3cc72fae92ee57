"""Flights: one upstream call per fingerprint, owned by the app and not by any request.

Whoever asks first leads; who asks for the same while it is in the air follows and shares
how it ends. A client that leaves abandons its wait, never the flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.coalescing.broadcast import Broadcast
from gateway.telemetry.spans import NO_SPAN, Span

Result = TypeVar("Result")


class ClientGone(Exception):
    """The client left while it waited; its flight goes on."""


@dataclass(eq=False)
class Flight(Generic[Result]):
    """One call in the air. `task` ends with its landing and never raises a refusal."""

    key: str
    task: asyncio.Task[Result]
    broadcast: Broadcast
    span: Span = NO_SPAN
    followers: int = field(default=0)


class SingleFlight(Generic[Result]):
    """Every flight of this process."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight[Result]] = {}
        self._in_flight: set[asyncio.Task[Result]] = set()

    def is_in_flight(self, key: str) -> bool:
        """Is there a flight for this key that could be followed?"""
        return key in self._by_key

    def follow(self, key: str) -> Flight[Result] | None:
        """Follow the flight for this key, if there is one in the air."""
        flight = self._by_key.get(key)
        if flight:
            flight.followers += 1
        return flight

    def start(
        self,
        fly: Callable[[], Awaitable[Result]],
        key: str = "",
        broadcast: Broadcast | None = None,
        span: Span = NO_SPAN,
    ) -> Flight[Result]:
        """Start a flight. A flight with an empty key cannot be joined."""
        task: asyncio.Task[Result] = asyncio.ensure_future(_run(fly))
        flight = Flight(key, task, broadcast or Broadcast(), span)
        self._in_flight.add(task)
        if key:
            self._by_key[key] = flight
        task.add_done_callback(lambda _: self._landed(flight))
        return flight

    def _landed(self, flight: Flight[Result]) -> None:
        self._in_flight.discard(flight.task)
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def followers(self) -> int:
        """How many requests follow another's flight in the air."""
        return sum(flight.followers for flight in self._by_key.values())

    async def drain(self, seconds: float) -> int:
        """Wait for every flight, at most so long; how many were still in the air then."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=seconds)
        return len(self._in_flight)


async def _run(fly: Callable[[], Awaitable[Result]]) -> Result:
    return await fly()
