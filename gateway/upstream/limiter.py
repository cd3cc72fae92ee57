"""The tower: which flights may take off to the upstream, and when.

So many calls at once, the others in a line for each team; and none while the circuit is open.
A flight asks before its money is reserved, so that nothing is held while it waits.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.upstream.rules import refusals
from gateway.upstream.rules.circuit_breaker import CircuitBreaker
from gateway.upstream.rules.fair_queue import FairQueue, Place
from gateway.upstream.rules.retry_policy import LONGEST_WAIT_SECONDS

Turn = asyncio.Future[bool]
"""Ends with True when its seat is there, with False when it has lost its place in the line."""


class UpstreamLimiter:
    """Clears flights for take-off.

    `rest_seconds` says for how long the upstream has asked to be left alone.
    """

    def __init__(
        self,
        *,
        queue: FairQueue[Turn],
        queue_seconds: float,
        circuit: CircuitBreaker,
        rest_seconds: Callable[[], float],
        metrics: Metrics,
        log: EventLog,
    ) -> None:
        self._queue = queue
        self._queue_seconds = queue_seconds
        self._circuit = circuit
        self._rest_seconds = rest_seconds
        self._metrics = metrics
        self._log = log
        self._closed = False

    @property
    def slots_taken(self) -> int:
        return self._queue.taken

    @property
    def is_full(self) -> bool:
        """Would a flight have to wait for a seat?"""
        return self._queue.is_full

    @property
    def failure(self) -> list[str]:
        """Why nothing, or little, is sent to the upstream; empty where all is well."""
        found = []
        if self._circuit.is_open:
            found.append(f"circuit open ({self._circuit.why})")
        if rest := self._rest_seconds():
            found.append(f"asks to be left alone for {math.ceil(rest)} s")
        return found

    async def clear(self, team: str) -> Permit:
        """A seat at the upstream, when its turn has come.

        Raises `overloaded` where the circuit is open, the lines are full or the wait too long,
        `upstream_account` and `upstream_busy` where the upstream would only say so again.
        """
        self._check()
        queued = await self._seat(team)
        if self._closed:
            self.leave_seat()
            raise refusals.refusal_while_closing()
        ticket = self.enter_circuit()
        if ticket is None:
            self.leave_seat()
            raise refusals.refusal_while_open(self._circuit.why, self._wait_seconds())
        return Permit(self, team, ticket, queued=queued)

    def close(self) -> None:
        """Nobody takes off any more: who waits is told so, and has nothing held."""
        self._closed = True
        for turn in self._queue.close_lines():
            turn.set_result(False)
        self._show_queue()

    def _check(self) -> None:
        if self._closed:
            raise refusals.refusal_while_closing()
        if (wait := self._wait_seconds()) > 0:
            raise refusals.refusal_while_open(self._circuit.why, wait)
        if (rest := self._rest_seconds()) > LONGEST_WAIT_SECONDS:
            raise refusals.refusal_while_resting(rest)

    # --- seats ------------------------------------------------------------------------

    async def _seat(self, team: str) -> bool:
        """Wait for a seat; True where there was a line to wait in."""
        turn: Turn = asyncio.get_running_loop().create_future()
        entered = self._queue.enter(team, turn)
        if entered.displaced:
            entered.displaced.set_result(False)
        self._show_queue()
        if entered.place is Place.NONE:
            raise refusals.refusal_of_full_queue()
        if entered.place is Place.SEAT:
            self._metrics.queue_seconds.observe(0)
            return False
        started = time.perf_counter()
        try:
            await asyncio.wait({turn}, timeout=self._queue_seconds)
        except asyncio.CancelledError:
            if turn.done() and turn.result():
                self.leave_seat()
            raise
        finally:
            self._metrics.queue_seconds.observe(time.perf_counter() - started)
            if not turn.done():
                self._queue.leave_line(team, turn)
                self._show_queue()
        if not turn.done():
            raise refusals.refusal_of_long_wait()
        if not turn.result():
            closed = self._closed
            raise refusals.refusal_while_closing() if closed else refusals.refusal_of_full_queue()
        return True

    def leave_seat(self) -> None:
        """Give a seat to whoever is next."""
        following = self._queue.leave_seat()
        if following:
            following.set_result(True)
        self._show_queue()

    def _show_queue(self) -> None:
        self._metrics.queue_waiting.set(self._queue.waiting)

    # --- the circuit ------------------------------------------------------------------

    def _wait_seconds(self) -> float:
        return self._circuit.wait_seconds(time.monotonic())

    def enter_circuit(self) -> int | None:
        """A ticket for one call; None where none may go."""
        return None if self._closed else self._circuit.enter(time.monotonic())

    def leave_circuit(self, ticket: int) -> None:
        """A call was not made after all."""
        self._circuit.leave(ticket, time.monotonic())

    def tell(self, ticket: int, failure: str) -> None:
        """How a call went: `failure` is the code of what the upstream failed with, or empty."""
        if failure and self._circuit.failed(ticket, time.monotonic(), failure):
            self._metrics.circuit_opened.inc()
            self._log.warn("the circuit opened: the upstream is left alone", why=failure)
        elif not failure and self._circuit.succeeded(ticket):
            self._log.note("the circuit closed: the upstream answers again")
        self._metrics.circuit_open.set(self._circuit.is_open)


class Permit:
    """Leave for one flight to call the upstream: a seat, and a ticket of the circuit.

    `queued`: it had to wait, and something may have changed meanwhile.
    """

    def __init__(self, limiter: UpstreamLimiter, team: str, ticket: int, *, queued: bool) -> None:
        self._limiter = limiter
        self._team = team
        self._ticket: int | None = ticket
        self._seated = True
        self.queued = queued

    def release(self) -> None:
        """Let others have the seat, and the ticket where it was not used; may come twice."""
        if self._ticket is not None:
            self._limiter.leave_circuit(self._ticket)
            self._ticket = None
        if self._seated:
            self._seated = False
            self._limiter.leave_seat()

    async def reacquire(self) -> None:
        """Have what was released meanwhile once more. Raises what `Tower.clear` does."""
        if not self._seated:
            cleared = await self._limiter.clear(self._team)
            self._seated, self._ticket = True, cleared._ticket

    def landed(self, failure: str) -> None:
        """A call has ended; `failure` as in `Tower.tell`. For another one, ask `again`."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._limiter.tell(ticket, failure)

    def again(self) -> bool:
        """May one more call be made?"""
        self._ticket = self._limiter.enter_circuit()
        return self._ticket is not None
