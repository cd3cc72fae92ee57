"""The limiter under flights that arrive, fail and are cancelled: no slot is lost or doubled."""

from __future__ import annotations

import asyncio
import io
import random

import pytest

from gateway.model.errors import Refusal
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.upstream.limiter import UpstreamLimiter
from gateway.upstream.rules.circuit_breaker import CircuitBreaker
from gateway.upstream.rules.fair_queue import FairQueue

SLOTS, QUEUED = 4, 12


class Sky:
    """Flights through one limiter, and the most that were in flight at once."""

    def __init__(self, chance: random.Random, queue_seconds: float = 0.01) -> None:
        self.queue: FairQueue[asyncio.Future[bool]] = FairQueue(SLOTS, QUEUED)
        self.circuit = CircuitBreaker(failures=6, open_seconds=0.005)
        self.limiter = UpstreamLimiter(
            upstream="u",
            queue=self.queue,
            queue_seconds=queue_seconds,
            circuit=self.circuit,
            backoff_seconds=lambda: 0.0,
            metrics=Metrics("0"),
            log=EventLog(out=io.StringIO()),
            now_ms=lambda: 0,
        )
        self.chance = chance
        self.up = self.most_up = self.landed = 0
        self.codes = set[str]()

    async def fly(self, team: str) -> None:
        try:
            permit = await self.limiter.acquire(team)
        except Refusal as refusal:
            self.codes.add(refusal.code)
            return
        try:
            if self.chance.random() < 0.2:  # money is waited for
                permit.release()
                await self.pause()
                await permit.reacquire()
            await self.call()
            permit.report(self.chance.choice(["", "", "upstream_failed"]))
            if self.chance.random() < 0.3 and permit.renew():
                await self.call()
                permit.report("")
        except Refusal as refusal:
            self.codes.add(refusal.code)
        finally:
            permit.release()

    async def call(self) -> None:
        self.up += 1
        self.most_up = max(self.most_up, self.up)
        try:
            await self.pause()
            self.landed += 1
        finally:
            self.up -= 1

    async def pause(self) -> None:
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.002]))


async def storm(sky: Sky, flights: int) -> None:
    """Flights of five teams; every seventh is cancelled at some moment."""
    tasks = []
    for number in range(flights):
        tasks.append(asyncio.create_task(sky.fly(f"team{sky.chance.randrange(5)}")))
        if number % 7 == 0:
            sky.chance.choice(tasks).cancel()
        if number % 5 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not [task for task in tasks if not task.cancelled() and task.exception()]


@pytest.mark.parametrize("seed", range(10))
async def test_no_slot_is_lost_or_given_twice(seed: int) -> None:
    sky = Sky(random.Random(seed))
    await storm(sky, 400)

    assert sky.landed
    assert sky.most_up <= SLOTS
    assert (sky.limiter.queue.taken, sky.queue.waiting) == (0, 0)
    assert sky.codes <= {"overloaded"}
    async with asyncio.timeout(5):  # the circuit lets somebody through again
        while sky.circuit.is_open:
            sky.chance = random.Random(1)
            await sky.fly("after")
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", range(5))
async def test_a_limiter_that_closes_refuses_everybody_and_loses_no_slot(seed: int) -> None:
    sky = Sky(random.Random(seed), queue_seconds=60)
    storming = asyncio.create_task(storm(sky, 200))
    await asyncio.sleep(0.005)
    sky.limiter.close()
    async with asyncio.timeout(10):
        await storming

    assert sky.limiter.queue.taken == sky.queue.waiting == 0
    with pytest.raises(Refusal) as refused:
        await sky.limiter.acquire("late")
    assert refused.value.code == "shutting_down"
