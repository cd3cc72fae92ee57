"""The upstream limiter: which calls may be made, and when.

It bounds the calls in flight, queues the others by team, and makes none while the circuit is open.
A flight acquires its permit before its money is reserved, so no money is held while it waits.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families
from gateway.upstream.rules import refusals
from gateway.upstream.rules.circuit_breaker import CircuitBreaker
from gateway.upstream.rules.fair_queue import FairQueue, Place
from gateway.upstream.rules.retry_policy import LONGEST_WAIT_SECONDS

Turn = asyncio.Future[bool]
"""True: the slot is free. False: the place in the queue is lost."""


@dataclass(frozen=True, slots=True)
class Health:
    """What this process has found out about an upstream.

    `code` is why the circuit is open, empty while it is closed. `failed_ms` is when it opened, or
    its last probe failed; `answered_ms` when it closed, or the process had its first answer.
    """

    code: str = ""
    failed_ms: int = 0
    answered_ms: int = 0


@dataclass(kw_only=True)
class UpstreamLimiter:
    """Hands out permits for calls to one upstream."""

    upstream: str
    queue: FairQueue[Turn]
    queue_seconds: float
    circuit: CircuitBreaker
    backoff_seconds: Callable[[], float]
    """How long the upstream has asked to wait."""
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]
    health: Health = field(init=False, default=Health())
    _closed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        for family in (families.QUEUE_WAITING, families.CIRCUIT_OPEN):
            self.metrics.gauge(family).labels(self.upstream).set(0)
        self.metrics.counter(families.CIRCUIT_OPENED).labels(self.upstream)

    @property
    def is_full(self) -> bool:
        """Would a flight have to wait for a slot?"""
        return self.queue.is_full

    @property
    def makes_no_calls(self) -> bool:
        """Would every call be refused at present, whatever the queue is?"""
        return self._wait_seconds() > 0 or self.backoff_seconds() > LONGEST_WAIT_SECONDS

    @property
    def degradations(self) -> list[str]:
        """Why calls are not made, or fewer than usual; empty if nothing is wrong."""
        found = []
        if self.circuit.is_open:
            found.append(f"circuit open ({self.circuit.why})")
        if rest := self.backoff_seconds():
            found.append(f"asks to be left alone for {math.ceil(rest)} s")
        return found

    async def acquire(self, team: str) -> Permit:
        """Wait for a slot, in the team's turn.

        Raises `overloaded` where the circuit is open, the queue is full or the wait too long;
        `upstream_account` and `upstream_busy` where the upstream's last such answer still holds.
        """
        self.check()
        queued = await self._acquire_slot(team)
        if self._closed:
            self.release_slot()
            raise refusals.refusal_while_closing()
        ticket = self.enter_circuit()
        if ticket is None:
            self.release_slot()
            raise refusals.refusal_while_open(self.circuit.why, self._wait_seconds())
        return Permit(self, team, ticket, queued)

    def close(self) -> None:
        """Make no more calls; flights that wait are refused, and hold no money."""
        self._closed = True
        for turn in self.queue.clear():
            turn.set_result(False)
        self._show_queue()

    def check(self) -> None:
        """Raise what `acquire` raises at once, whatever the queue is. Changes nothing."""
        if self._closed:
            raise refusals.refusal_while_closing()
        if (wait := self._wait_seconds()) > 0:
            raise refusals.refusal_while_open(self.circuit.why, wait)
        if (rest := self.backoff_seconds()) > LONGEST_WAIT_SECONDS:
            raise refusals.refusal_while_resting(rest)

    async def _acquire_slot(self, team: str) -> bool:
        """Wait for a slot. Returns True if there was a queue."""
        turn: Turn = asyncio.get_running_loop().create_future()
        entered = self.queue.enter(team, turn)
        if entered.displaced:
            entered.displaced.set_result(False)
        self._show_queue()
        if entered.place is Place.REFUSED:
            raise refusals.refusal_of_full_queue()
        if entered.place is Place.SLOT:
            self.metrics.histogram(families.QUEUE_SECONDS).labels(self.upstream).observe(0)
            return False
        started = time.perf_counter()
        try:
            await asyncio.wait({turn}, timeout=self.queue_seconds)
        except asyncio.CancelledError:
            if turn.done() and turn.result():
                self.release_slot()
            raise
        finally:
            self.metrics.histogram(families.QUEUE_SECONDS).labels(self.upstream).observe(
                time.perf_counter() - started
            )
            if not turn.done():
                self.queue.leave_queue(team, turn)
                self._show_queue()
        if not turn.done():
            raise refusals.refusal_of_long_wait()
        if turn.result():
            return True
        raise refusals.refusal_while_closing() if self._closed else refusals.refusal_of_full_queue()

    def release_slot(self) -> None:
        """Pass a slot on to the next in the queue."""
        if following := self.queue.release_slot():
            following.set_result(True)
        self._show_queue()

    def _show_queue(self) -> None:
        self.metrics.gauge(families.QUEUE_WAITING).labels(self.upstream).set(self.queue.waiting)

    def _wait_seconds(self) -> float:
        return self.circuit.wait_seconds(time.monotonic())

    def enter_circuit(self) -> int | None:
        """A ticket for one call; None where none may be made."""
        return None if self._closed else self.circuit.enter(time.monotonic())

    def record_result(self, ticket: int, failure: str) -> None:
        """Count a call for the circuit; `failure` is the upstream's code, or empty."""
        opened = failure and self.circuit.failed(ticket, time.monotonic(), failure)
        closed = not failure and self.circuit.succeeded(ticket)
        if failure and self.circuit.is_open:
            self.health = replace(self.health, code=self.circuit.why, failed_ms=self.now_ms())
        elif closed or not (failure or self.health.answered_ms):
            self.health = replace(self.health, code=self.circuit.why, answered_ms=self.now_ms())
        if opened:
            self.metrics.counter(families.CIRCUIT_OPENED).labels(self.upstream).inc()
            self.log.warning(
                "the circuit opened: no calls are made for a while",
                upstream=self.upstream,
                why=failure,
            )
        elif closed:
            self.log.info("the circuit closed: the upstream answers again", upstream=self.upstream)
        self.metrics.gauge(families.CIRCUIT_OPEN).labels(self.upstream).set(self.circuit.is_open)


@dataclass(eq=False)
class Permit:
    """A flight's right to call the upstream: a slot, and a ticket of the circuit."""

    _limiter: UpstreamLimiter
    _team: str
    _ticket: int | None
    queued: bool
    """The flight has waited, so that its edit may have been stored meanwhile."""
    _has_slot: bool = field(init=False, default=True)

    def release(self) -> None:
        """Give back the slot, and the ticket if it was not used. May be called twice."""
        if self._ticket is not None:
            self._limiter.circuit.leave(self._ticket, time.monotonic())
            self._ticket = None
        if self._has_slot:
            self._has_slot = False
            self._limiter.release_slot()

    async def reacquire(self) -> None:
        """Acquire again what was released. Raises what `UpstreamLimiter.acquire` does."""
        if not self._has_slot:
            acquired = await self._limiter.acquire(self._team)
            self._has_slot, self._ticket = True, acquired._ticket

    def report(self, failure: str) -> None:
        """A call has ended; `failure` as in `UpstreamLimiter.record_result`."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._limiter.record_result(ticket, failure)

    def renew(self) -> bool:
        """Take a ticket for another call; False where none may be made."""
        self._ticket = self._limiter.enter_circuit()
        return self._ticket is not None
