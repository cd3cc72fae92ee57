"""One client's stream, from its first byte to the end of its flight.

The stream begins when the upstream's does, or with the first heartbeat. Until then a failure is
still an answer with a status of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.coalescing.broadcast import Broadcast
from gateway.coalescing.flights import Flight
from gateway.server.exchange import ClientDisconnected
from gateway.wire.events import HEARTBEAT

Result = TypeVar("Result")
Begin = Callable[[bool, Broadcast], Awaitable[None]]
"""Sends the head of the answer. Takes whether this client leads, and the flight's broadcast."""
Send = Callable[[bytes], Awaitable[None]]


@dataclass(kw_only=True, slots=True)
class StreamSubscriber:
    """Sends a client the events of its flight.

    A leader gets every event. A follower gets the events from the moment it joins, and no more
    partial pictures than it asked for.
    """

    begin: Begin
    send: Send
    heartbeat_seconds: float
    partials_left: int
    _begun: bool = field(init=False, default=False)

    async def follow(
        self, flight: Flight[Result], led: bool, gone: Callable[[], Awaitable[None]]
    ) -> Result:
        """Send events until the flight ends, and return its result. Raises ClientDisconnected."""
        wakeup = asyncio.Event()
        leaving = asyncio.ensure_future(gone())

        def wake(_: object) -> None:
            wakeup.set()

        flight.task.add_done_callback(wake)
        leaving.add_done_callback(wake)
        try:
            with flight.broadcast.subscribe(wakeup):
                return await self._follow(flight, led, leaving, wakeup)
        finally:
            leaving.cancel()
            flight.task.remove_done_callback(wake)

    async def _follow(
        self,
        flight: Flight[Result],
        led: bool,
        leaving: asyncio.Future[None],
        wakeup: asyncio.Event,
    ) -> Result:
        broadcast = flight.broadcast
        place = 0 if led else broadcast.now
        while True:
            wakeup.clear()
            if broadcast.is_open:
                await self._begin_once(led, broadcast)
            passed = broadcast.since(place)
            for event in passed:
                if led or self._wants(event.is_partial):
                    await self.send(event.data)
                place = event.place + 1
            if passed:
                continue  # more may have arrived
            if flight.task.done():
                return flight.task.result()
            if leaving.done():
                raise ClientDisconnected
            if not await self._woken(wakeup):
                await self._begin_once(led, broadcast)
                await self.send(HEARTBEAT)

    async def _begin_once(self, led: bool, broadcast: Broadcast) -> None:
        if not self._begun:
            self._begun = True
            await self.begin(led, broadcast)

    def _wants(self, is_partial: bool) -> bool:
        if not is_partial:
            return True
        self.partials_left -= 1
        return self.partials_left >= 0

    async def _woken(self, wakeup: asyncio.Event) -> bool:
        """Wait for something new. False if a heartbeat is due first."""
        try:
            async with asyncio.timeout(self.heartbeat_seconds):
                await wakeup.wait()
        except TimeoutError:
            return False
        return True
