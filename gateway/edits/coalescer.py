"""`join`: the flight of an edit, led or followed, and what is remembered instead of a flight.

Which flights an edit may join is decided here; how one is flown is `purchase.py`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from gateway.coalescing.rules.failure_memory import FailureMemory, size_of
from gateway.coalescing.rules.lease import FRESH, Asking, is_of_request, is_refusal
from gateway.coalescing.rules.retry_memory import Name, Retries
from gateway.coalescing.single_flight import ClientGone, Flight, Flights
from gateway.coalescing.stream_subscriber import Stream
from gateway.edits.flight_result import Crash, Landing, Order, Picture, span_facts
from gateway.model.errors import Refusal
from gateway.telemetry.spans import NO_SPANS, Span, Spans

ALONE = "alone:"
Fly = Callable[[Order], Awaitable[Landing]]


class Awaited(NamedTuple):
    """What somebody who asks again would find in this process: a flight to join, or what one
    brought and was kept, because it was told to ask again."""

    in_air: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request's flight landed, and whether the request led it."""

    landing: Landing
    led: bool


class Boarding:
    """Brings requests onto flights."""

    def __init__(
        self,
        *,
        flights: Flights[Landing],
        fly: Fly,
        client_wait_seconds: float,
        now_ms: Callable[[], int],
        retries: Retries[Landing] | None = None,
        on_unattended: Callable[[Order, Landing], None] | None = None,
        spans: Spans = NO_SPANS,
    ) -> None:
        """`on_unattended` hears of flights that landed when their leader had left."""
        self._flights = flights
        self._fly = fly
        self._client_wait_seconds = client_wait_seconds
        self._now_ms = now_ms
        self._failures = FailureMemory()
        self._retries = Retries[Landing]() if retries is None else retries
        self._on_unattended = on_unattended
        self._spans = spans
        self._leading: set[str] = set()
        """The requests whose flights are in the air."""

    def leads(self, request_id: str) -> bool:
        """Is the flight that this request has begun in the air here?"""
        return request_id in self._leading

    def awaits(self, asking: Asking, key_id: str) -> Awaited:
        """What the same request would find here if it came again; changes nothing."""
        now_ms, name = self._now_ms(), _name(asking, key_id)
        again = asking.retry or self._retries.is_promised(name, now_ms)
        key = flight_key(asking, key_id)
        in_air = self._flights.is_in_air(key) and (again or asking.shared)
        if key == asking.key:
            in_air = in_air or self._flights.is_in_air(FRESH + key)
        return Awaited(in_air, again and self._retries.find(name, now_ms) is not None)

    async def join(
        self, order: Order, gone: Callable[[], Awaitable[None]], stream: Stream | None = None
    ) -> Arrival:
        """Lead the flight of this edit, or follow it, or get what is remembered of it.

        Raises `still_running` where it takes longer than a client can wait (one with a `stream`
        waits as long as it takes), and ClientGone where the client leaves first; the flight
        goes on in both cases.
        """
        deadline = asyncio.get_running_loop().time() + self._client_wait_seconds
        again = order.directives.retry or self._retries.was_promised(
            _name_of(order), self._now_ms()
        )
        while True:
            if known := self._known(order, again):
                return Arrival(known, led=False)
            flight, led = self._board(order, again)
            try:
                if stream:
                    landing = await stream.hear(flight, led, gone)
                else:
                    landing = await self._wait(flight, order, gone, deadline)
            except BaseException:
                if led:
                    flight.task.add_done_callback(functools.partial(self._unattended, order))
                raise
            finally:
                flight.followers -= not led
            if led or not _is_leaders_alone(landing, order):
                return Arrival(landing, led)

    def _unattended(self, order: Order, task: asyncio.Task[Landing]) -> None:
        if self._on_unattended and not task.cancelled():
            self._on_unattended(order, task.result())

    # --- what is remembered -----------------------------------------------------------

    def _known(self, order: Order, again: bool) -> Landing | None:
        """How this edit failed a moment ago, or what the attempt before this retry brought."""
        now_ms, asking = self._now_ms(), order.asking
        if again and (landing := self._retries.find(_name_of(order), now_ms)):
            return landing
        if asking.fresh:
            return None
        remembered = self._failures.recall(asking.key, now_ms, asking.aside)
        if remembered is None or (is_refusal(remembered.refusal.code) and not asking.stores):
            return None
        return Crash(remembered.refusal, remembered=remembered, recalled=True, aside=asking.aside)

    def _learn(self, order: Order, landing: Landing) -> None:
        address = order.fingerprint
        if isinstance(landing, Picture):
            self._failures.forget(address.key, address.aside)
        elif landing.remembered:
            self._failures.keep(address.key, landing.remembered, address.aside)

    def _keep_for_retries(self, name: Name, fresh: bool, landing: Landing) -> None:
        """Keep what a retry of this request would find nowhere else."""
        if isinstance(landing, Picture):
            if landing.stored and not fresh:
                return
            landing, size = replace(landing, body=b""), len(landing.shared_body)
        elif fresh and landing.remembered:
            size = size_of(landing.refusal)
        else:
            return
        self._retries.keep(name, landing, size, self._now_ms())

    # --- boarding ---------------------------------------------------------------------

    def _board(self, order: Order, again: bool) -> tuple[Flight[Landing], bool]:
        """The flight to wait for, one in the air or a new one; True where it is new."""
        key = flight_key(order.asking, order.caller.key_id)
        flight = None
        if again or not key.startswith(ALONE):
            flight = self._flights.follow(key)
        if flight is None and key == order.fingerprint.key:
            flight = self._flights.follow(FRESH + key)
        led = flight is None
        if flight is None:
            order.spool.share()
            span = self._spans.flight("flight")
            fly = functools.partial(self._fly_and_learn, order, span)
            flight = self._flights.start(fly, key, order.relay, span)
            self._leading.add(order.request_id)
            flight.task.add_done_callback(lambda _: self._leading.discard(order.request_id))
        else:
            flight.span.link()
        name, fresh = _name_of(order), order.directives.no_cache

        def keep(task: asyncio.Task[Landing]) -> None:
            if not task.cancelled():
                self._keep_for_retries(name, fresh, task.result())

        flight.task.add_done_callback(keep)
        return flight, led

    async def _fly_and_learn(self, order: Order, span: Span) -> Landing:
        with self._spans.under(span):
            landing = await self._fly(order)
            span.note(span_facts(order, landing))
            if isinstance(landing, Crash):
                span.failed(landing.refusal.code)
        self._learn(order, landing)
        return landing

    async def _wait(
        self,
        flight: Flight[Landing],
        order: Order,
        gone: Callable[[], Awaitable[None]],
        deadline: float,
    ) -> Landing:
        leaving = asyncio.ensure_future(gone())
        patience = deadline - asyncio.get_running_loop().time()
        try:
            await asyncio.wait(
                {flight.task, leaving},
                timeout=max(0.0, patience),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            leaving.cancel()
        if flight.task.done():
            return flight.task.result()
        if leaving.done() and not leaving.cancelled():
            raise ClientGone
        self._retries.promise(_name_of(order), self._now_ms())
        raise Refusal(
            "still_running",
            "This edit is still being made. Send the same request again: it joins the one that "
            "is running and is not paid for twice.",
            retry_after_seconds=1,
        )


def flight_key(asking: Asking, key_id: str) -> str:
    """What a request's flight goes by: those that may share it have the same.

    What is not stored is nobody else's: asking twice means wanting two, and only an automatic
    retry joins the attempt before it.
    """
    return asking.lease_key if asking.shared else f"{ALONE}{key_id}:{asking.key}"


def _name(asking: Asking, key_id: str) -> Name:
    """The same for a retry, which sends exactly the same, fields of no picture and all."""
    return key_id, f"{flight_key(asking, key_id)} {asking.aside}"


def _name_of(order: Order) -> Name:
    return _name(order.asking, order.caller.key_id)


def _is_leaders_alone(landing: Landing, order: Order) -> bool:
    """Is this how it ended for the leader, and need not be how it ends for this follower?"""
    if isinstance(landing, Picture):
        return False
    sent_others = landing.aside != order.fingerprint.aside
    return landing.leaders_own or (sent_others and is_of_request(landing.refusal.code))
