"""One client's stream, from its first byte to where the flight has landed.

The stream begins when the upstream's does, or with the first heartbeat, whichever comes first:
until then whatever goes wrong is still an answer with a status of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.coalescing.broadcast import Broadcast
from gateway.coalescing.single_flight import ClientGone, Flight
from gateway.wire.events import HEARTBEAT

Result = TypeVar("Result")
Begin = Callable[[bool, Broadcast], Awaitable[None]]
"""Sends the head of the answer; takes whether this client led, and its flight's relay."""
Send = Callable[[bytes], Awaitable[None]]


class StreamSubscriber:
    """Sends a client what its flight brings on its way.

    Who leads gets every event; who follows gets those from where the flight is, and of partial
    pictures no more than it asked for.
    """

    def __init__(
        self, *, begin: Begin, send: Send, heartbeat_seconds: float, partial_images: int
    ) -> None:
        self._begin = begin
        self._send = send
        self._heartbeat_seconds = heartbeat_seconds
        self._partials_left = partial_images
        self._begun = False

    async def hear(
        self, flight: Flight[Result], led: bool, gone: Callable[[], Awaitable[None]]
    ) -> Result:
        """Hear a flight out, and how it landed. Raises ClientGone; the flight goes on then."""
        news = asyncio.Event()
        leaving = asyncio.ensure_future(gone())

        def tell(_: object) -> None:
            news.set()

        flight.task.add_done_callback(tell)
        leaving.add_done_callback(tell)
        try:
            with flight.broadcast.subscribe(news):
                return await self._hear(flight, led, leaving, news)
        finally:
            leaving.cancel()
            flight.task.remove_done_callback(tell)

    async def _hear(
        self,
        flight: Flight[Result],
        led: bool,
        leaving: asyncio.Future[None],
        news: asyncio.Event,
    ) -> Result:
        broadcast = flight.broadcast
        place = 0 if led else broadcast.now
        while True:
            news.clear()
            if broadcast.open:
                await self._begin_once(led, broadcast)
            passed = broadcast.since(place)
            for event in passed:
                if led or self._wants(event.is_partial):
                    await self._send(event.data)
                place = event.place + 1
            if passed:
                continue  # there may be more by now
            if flight.task.done():
                return flight.task.result()
            if leaving.done():
                raise ClientGone
            if not await self._came(news):
                await self._begin_once(led, broadcast)
                await self._send(HEARTBEAT)

    async def _begin_once(self, led: bool, broadcast: Broadcast) -> None:
        if not self._begun:
            self._begun = True
            await self._begin(led, broadcast)

    def _wants(self, is_partial: bool) -> bool:
        if not is_partial:
            return True
        self._partials_left -= 1
        return self._partials_left >= 0

    async def _came(self, news: asyncio.Event) -> bool:
        """Wait for news; False where a heartbeat is due first."""
        try:
            async with asyncio.timeout(self._heartbeat_seconds):
                await news.wait()
        except TimeoutError:
            return False
        return True
