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
from gateway.coalescing.rules.lease import FRESH, CoalescingKey, is_of_request, is_refusal
from gateway.coalescing.rules.retry_memory import Name, RetryMemory
from gateway.coalescing.single_flight import ClientGone, Flight, SingleFlight
from gateway.coalescing.stream_subscriber import StreamSubscriber
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Failed, FlightResult, Picture, span_facts
from gateway.model.errors import Refusal
from gateway.telemetry.spans import NO_SPANS, Span, Spans

ALONE = "alone:"
Fly = Callable[[EditRequest], Awaitable[FlightResult]]


class Joinable(NamedTuple):
    """What somebody who asks again would find in this process: a flight to join, or what one
    brought and was kept, because it was told to ask again."""

    in_flight: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class JoinResult:
    """How a request's flight landed, and whether the request led it."""

    result: FlightResult
    led: bool


class Coalescer:
    """Brings requests onto flights."""

    def __init__(
        self,
        *,
        flights: SingleFlight[FlightResult],
        fly: Fly,
        client_wait_seconds: float,
        now_ms: Callable[[], int],
        retries: RetryMemory[FlightResult] | None = None,
        on_unattended: Callable[[EditRequest, FlightResult], None] | None = None,
        spans: Spans = NO_SPANS,
    ) -> None:
        """`on_unattended` hears of flights that landed when their leader had left."""
        self._flights = flights
        self._fly = fly
        self._client_wait_seconds = client_wait_seconds
        self._now_ms = now_ms
        self._failures = FailureMemory()
        self._retries = RetryMemory[FlightResult]() if retries is None else retries
        self._on_unattended = on_unattended
        self._spans = spans
        self._leading: set[str] = set()
        """The requests whose flights are in the air."""

    def is_leading(self, request_id: str) -> bool:
        """Is the flight that this request has begun in the air here?"""
        return request_id in self._leading

    def would_join(self, coalescing_key: CoalescingKey, key_id: str) -> Joinable:
        """What the same request would find here if it came again; changes nothing."""
        now_ms, name = self._now_ms(), _name(coalescing_key, key_id)
        again = coalescing_key.retry or self._retries.is_promised(name, now_ms)
        key = flight_key(coalescing_key, key_id)
        in_flight = self._flights.is_in_flight(key) and (again or coalescing_key.shared)
        if key == coalescing_key.key:
            in_flight = in_flight or self._flights.is_in_flight(FRESH + key)
        return Joinable(in_flight, again and self._retries.find(name, now_ms) is not None)

    async def join(
        self,
        request: EditRequest,
        gone: Callable[[], Awaitable[None]],
        stream: StreamSubscriber | None = None,
    ) -> JoinResult:
        """Lead the flight of this edit, or follow it, or get what is remembered of it.

        Raises `still_running` where it takes longer than a client can wait (one with a `stream`
        waits as long as it takes), and ClientGone where the client leaves first; the flight
        goes on in both cases.
        """
        deadline = asyncio.get_running_loop().time() + self._client_wait_seconds
        again = request.directives.retry or self._retries.was_promised(
            _name_of(request), self._now_ms()
        )
        while True:
            if known := self._known(request, again):
                return JoinResult(known, led=False)
            flight, led = self._join_or_start(request, again)
            try:
                if stream:
                    result = await stream.follow(flight, led, gone)
                else:
                    result = await self._wait(flight, request, gone, deadline)
            except BaseException:
                if led:
                    flight.task.add_done_callback(functools.partial(self._unattended, request))
                raise
            finally:
                flight.followers -= not led
            if led or not _is_leaders_alone(result, request):
                return JoinResult(result, led)

    def _unattended(self, request: EditRequest, task: asyncio.Task[FlightResult]) -> None:
        if self._on_unattended and not task.cancelled():
            self._on_unattended(request, task.result())

    # --- what is remembered -----------------------------------------------------------

    def _known(self, request: EditRequest, again: bool) -> FlightResult | None:
        """How this edit failed a moment ago, or what the attempt before this retry brought."""
        now_ms, coalescing_key = self._now_ms(), request.coalescing_key
        if again and (result := self._retries.find(_name_of(request), now_ms)):
            return result
        if coalescing_key.fresh:
            return None
        remembered = self._failures.recall(coalescing_key.key, now_ms, coalescing_key.extra_digest)
        if remembered is None or (
            is_refusal(remembered.refusal.code) and not coalescing_key.stores
        ):
            return None
        return Failed(
            remembered.refusal,
            remembered=remembered,
            recalled=True,
            extra_digest=coalescing_key.extra_digest,
        )

    def _learn(self, request: EditRequest, result: FlightResult) -> None:
        fingerprint = request.fingerprint
        if isinstance(result, Picture):
            self._failures.forget(fingerprint.key, fingerprint.extra_digest)
        elif result.remembered:
            self._failures.keep(fingerprint.key, result.remembered, fingerprint.extra_digest)

    def _keep_for_retries(self, name: Name, fresh: bool, result: FlightResult) -> None:
        """Keep what a retry of this request would find nowhere else."""
        if isinstance(result, Picture):
            if result.stored and not fresh:
                return
            result, size = replace(result, body=b""), len(result.shared_body)
        elif fresh and result.remembered:
            size = size_of(result.refusal)
        else:
            return
        self._retries.keep(name, result, size, self._now_ms())

    # --- boarding ---------------------------------------------------------------------

    def _join_or_start(
        self, request: EditRequest, again: bool
    ) -> tuple[Flight[FlightResult], bool]:
        """The flight to wait for, one in the air or a new one; True where it is new."""
        key = flight_key(request.coalescing_key, request.caller.key_id)
        flight = None
        if again or not key.startswith(ALONE):
            flight = self._flights.follow(key)
        if flight is None and key == request.fingerprint.key:
            flight = self._flights.follow(FRESH + key)
        led = flight is None
        if flight is None:
            request.spool.share()
            span = self._spans.flight("flight")
            fly = functools.partial(self._fly_and_learn, request, span)
            flight = self._flights.start(fly, key, request.broadcast, span)
            self._leading.add(request.request_id)
            flight.task.add_done_callback(lambda _: self._leading.discard(request.request_id))
        else:
            flight.span.link()
        name, fresh = _name_of(request), request.directives.no_cache

        def keep(task: asyncio.Task[FlightResult]) -> None:
            if not task.cancelled():
                self._keep_for_retries(name, fresh, task.result())

        flight.task.add_done_callback(keep)
        return flight, led

    async def _fly_and_learn(self, request: EditRequest, span: Span) -> FlightResult:
        with self._spans.under(span):
            result = await self._fly(request)
            span.note(span_facts(request, result))
            if isinstance(result, Failed):
                span.failed(result.refusal.code)
        self._learn(request, result)
        return result

    async def _wait(
        self,
        flight: Flight[FlightResult],
        request: EditRequest,
        gone: Callable[[], Awaitable[None]],
        deadline: float,
    ) -> FlightResult:
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
        self._retries.promise(_name_of(request), self._now_ms())
        raise Refusal(
            "still_running",
            "This edit is still being made. Send the same request again: it joins the one that "
            "is running and is not paid for twice.",
            retry_after_seconds=1,
        )


def flight_key(coalescing_key: CoalescingKey, key_id: str) -> str:
    """What a request's flight goes by: those that may share it have the same.

    What is not stored is nobody else's: asking twice means wanting two, and only an automatic
    retry joins the attempt before it.
    """
    return (
        coalescing_key.lease_key
        if coalescing_key.shared
        else f"{ALONE}{key_id}:{coalescing_key.key}"
    )


def _name(coalescing_key: CoalescingKey, key_id: str) -> Name:
    """The same for a retry, which sends exactly the same, fields of no picture and all."""
    return key_id, f"{flight_key(coalescing_key, key_id)} {coalescing_key.extra_digest}"


def _name_of(request: EditRequest) -> Name:
    return _name(request.coalescing_key, request.caller.key_id)


def _is_leaders_alone(result: FlightResult, request: EditRequest) -> bool:
    """Is this how it ended for the leader, and need not be how it ends for this follower?"""
    if isinstance(result, Picture):
        return False
    sent_others = result.extra_digest != request.fingerprint.extra_digest
    return result.leaders_own or (sent_others and is_of_request(result.refusal.code))
