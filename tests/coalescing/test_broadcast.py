"""A flight's events for those who wait on it: bounded, in order, and nobody holds it up."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.coalescing.broadcast import MOST_BYTES, MOST_EVENTS, Broadcast
from gateway.coalescing.flights import Flight, SingleFlight
from gateway.coalescing.stream_subscriber import StreamSubscriber
from gateway.server.exchange import ClientDisconnected
from gateway.wire.events import HEARTBEAT, Event


def partial(index: int, size: int = 1) -> Event:
    name = "image_edit.partial_image"
    return Event(name, json.dumps({"type": name, "b64_json": "x" * size, "i": index}).encode())


class Client:
    """A client's end: what it was sent, and whether it has left."""

    def __init__(self, *, slow: bool = False) -> None:
        self.sent: list[bytes] = []
        self.begun: list[bool] = []
        self.left = asyncio.Event()
        self.takes = asyncio.Event()
        if not slow:
            self.takes.set()

    async def begin(self, led: bool, broadcast: Broadcast) -> None:
        self.begun.append(led)

    async def send(self, piece: bytes) -> None:
        await self.takes.wait()
        self.sent.append(piece)

    async def gone(self) -> None:
        await self.left.wait()

    def hears(
        self, flight: Flight[str], *, led: bool, heartbeat_seconds: float = 30.0, partials: int = 99
    ) -> asyncio.Task[str]:
        stream = StreamSubscriber(
            begin=self.begin,
            send=self.send,
            heartbeat_seconds=heartbeat_seconds,
            partials_left=partials,
        )
        return asyncio.create_task(stream.follow(flight, led, self.gone))


class Air:
    """A flight that lands when it is told to."""

    def __init__(self) -> None:
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.broadcast = Broadcast()

        async def call() -> str:
            return await self.result

        self.flight: Flight[str] = SingleFlight[str]().start(call, "key", self.broadcast)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_only_the_last_events_are_kept() -> None:
    broadcast = Broadcast()
    for index in range(MOST_EVENTS + 3):
        broadcast.publish(partial(index))

    assert [passed.place for passed in broadcast.since(0)] == list(range(3, MOST_EVENTS + 3))
    assert [passed.place for passed in broadcast.since(broadcast.now)] == [MOST_EVENTS + 2]


def test_large_events_are_kept_within_a_bound_but_the_newest_always() -> None:
    broadcast = Broadcast()
    for index in range(3):
        broadcast.publish(partial(index, MOST_BYTES // 2))
    assert [passed.place for passed in broadcast.since(0)] == [2]

    broadcast.publish(partial(3, 2 * MOST_BYTES))
    assert [passed.place for passed in broadcast.since(0)] == [3]


async def test_events_come_in_order_and_before_the_landing() -> None:
    air, client = Air(), Client()
    hearing = client.hears(air.flight, led=True)
    await settle()
    assert client.begun == []

    air.broadcast.open()
    await settle()
    assert client.begun == [True]

    events = [partial(index) for index in range(3)]
    air.broadcast.publish(events[0])
    await settle()
    assert client.sent == [events[0].encode()]

    air.broadcast.publish(events[1])
    air.broadcast.publish(events[2])
    air.result.set_result("landed")
    assert await hearing == "landed"
    assert client.sent == [event.encode() for event in events]
    assert client.begun == [True]


async def test_a_client_that_reads_slowly_misses_old_events_and_gets_the_newest() -> None:
    air, client = Air(), Client(slow=True)
    hearing = client.hears(air.flight, led=True)
    air.broadcast.open()
    events = [partial(index) for index in range(2 * MOST_EVENTS)]
    air.broadcast.publish(events[0])
    await settle()
    for event in events[1:]:
        air.broadcast.publish(event)
    air.result.set_result("landed")
    await settle()
    client.takes.set()

    assert await hearing == "landed"
    assert client.sent == [event.encode() for event in (events[0], *events[-MOST_EVENTS:])]


async def test_a_flight_that_lands_before_it_streams_begins_nothing() -> None:
    air, client = Air(), Client()
    hearing = client.hears(air.flight, led=True)
    await settle()
    air.result.set_result("refused")

    assert await hearing == "refused"
    assert (client.begun, client.sent) == ([], [])


async def test_heartbeats_begin_a_stream_that_has_nothing_to_say() -> None:
    air, client = Air(), Client()
    hearing = client.hears(air.flight, led=False, heartbeat_seconds=0.02)
    async with asyncio.timeout(5):
        while len(client.sent) < 3:
            await asyncio.sleep(0.01)
    air.result.set_result("landed")

    assert await hearing == "landed"
    assert client.begun == [False]
    assert set(client.sent) == {HEARTBEAT}


async def test_a_client_that_leaves_ends_its_own_waiting_alone() -> None:
    air, leaver, stayer = Air(), Client(), Client()
    leaving = leaver.hears(air.flight, led=True)
    staying = stayer.hears(air.flight, led=False)
    await settle()
    leaver.left.set()
    with pytest.raises(ClientDisconnected):
        await leaving

    assert not air.flight.task.done()
    air.broadcast.open()
    air.broadcast.publish(partial(0))
    air.result.set_result("landed")
    assert await staying == "landed"
    assert len(stayer.sent) == 1
