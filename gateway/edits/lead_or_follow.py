"""`join`: lead a flight, follow one of this process, or get what is remembered of one.

A client that disconnects leaves its flight running. What may be joined is decided by
`coalescing.rules.coalescing_key`; `purchase` is the flight itself.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.coalescing.flights import Flight, SingleFlight
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.coalescing.rules.failure_memory import FailureMemory, size_of
from gateway.coalescing.rules.retry_results import Name, RetryResults
from gateway.coalescing.stream_subscriber import StreamSubscriber
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import (
    Bought,
    Failed,
    FailureScope,
    FlightResult,
    is_stored,
    span_facts,
)
from gateway.model.errors import Refusal
from gateway.server.exchange import ClientDisconnected
from gateway.telemetry.spans import NO_SPANS, Span, Spans

Buy = Callable[[EditRequest], Awaitable[FlightResult]]
Gone = Callable[[], Awaitable[None]]


class Joinable(NamedTuple):
    """What a repeated request would join in this process."""

    in_flight: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The result of a request's flight, and whether the request led it."""

    result: FlightResult
    led: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Coalescer:
    """Joins requests to flights."""

    flights: SingleFlight[FlightResult]
    buy: Buy
    client_wait_seconds: float
    now_ms: Callable[[], int]
    retries: RetryResults[FlightResult] = field(default_factory=RetryResults[FlightResult])
    on_unattended: Callable[[EditRequest, FlightResult], None] = lambda *_: None
    spans: Spans = NO_SPANS
    _failures: FailureMemory = field(init=False, default_factory=FailureMemory)
    _leading: set[str] = field(init=False, default_factory=set)
    """The ids of the requests whose flights are in progress."""

    def is_leading(self, request_id: str) -> bool:
        return request_id in self._leading

    def would_join(self, coalescing_key: CoalescingKey, key_id: str) -> Joinable:
        """What the same request would get from this process. Changes nothing."""
        now_ms, name = self.now_ms(), _name(coalescing_key, key_id)
        again = coalescing_key.retry or self.retries.is_promised(name, now_ms)
        names = coalescing_key.joinable_flights(key_id, retry=again)
        in_flight = any(self.flights.is_in_flight(each) for each in names)
        return Joinable(in_flight, again and self.retries.find(name, now_ms) is not None)

    def would_recall(self, request: EditRequest) -> FlightResult | None:
        """What the request would get from this process's memory. Makes no promise good."""
        again = request.directives.retry or self.retries.is_promised(
            _name_of(request), self.now_ms()
        )
        return self._recall(request, again)

    async def join(
        self,
        request: EditRequest,
        gone: Gone,
        stream: StreamSubscriber | None = None,
        *,
        patient: bool = False,
    ) -> JoinResult:
        """Wait for the result of a flight.

        Raises `still_running` after `client_wait_seconds`, except for a `stream` or if `patient`,
        and ClientDisconnected if the client leaves first. The flight goes on in both cases.
        """
        deadline = None
        if not patient:
            deadline = asyncio.get_running_loop().time() + self.client_wait_seconds
        again = request.directives.retry or self.retries.was_promised(
            _name_of(request), self.now_ms()
        )
        while True:
            if known := self._recall(request, again):
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

    def drop_result(self, fingerprint: str, made_before_ms: int) -> None:
        """Drop what is kept for retries of a result that was purged or replaced."""

        def is_older(result: FlightResult) -> bool:
            if isinstance(result, Failed):
                return False
            entry = (result.shared if isinstance(result, Bought) else result.stored).entry
            return entry.key == fingerprint and entry.created_ms < made_before_ms

        self.retries.drop(is_older)

    def _unattended(self, request: EditRequest, task: asyncio.Task[FlightResult]) -> None:
        if not task.cancelled():
            self.on_unattended(request, task.result())

    def _recall(self, request: EditRequest, again: bool) -> FlightResult | None:
        """The result of the attempt before this retry, or the edit's remembered failure."""
        now_ms = self.now_ms()
        if again and (result := self.retries.find(_name_of(request), now_ms)):
            return result
        for each in request.at_targets:
            key = each.coalescing_key
            if key.past_failures:
                return None
            remembered = self._failures.recall(key.key, now_ms, key.extra_digest)
            if remembered and key.recalls(remembered.refusal.code):
                return Failed(
                    remembered.refusal,
                    FailureScope.RECALLED,
                    remembered,
                    key.extra_digest,
                    fingerprint=key.key,
                    upstream=each.target.upstream,
                )
        return None

    def _remember(self, request: EditRequest, result: FlightResult) -> None:
        if not isinstance(result, Failed):
            for each in request.at_targets:
                self._failures.forget(each.fingerprint.key, each.fingerprint.extra_digest)
        elif result.remembered:
            name = result.fingerprint or request.fingerprint.key
            self._failures.keep(name, result.remembered, result.extra_digest)

    def _keep_for_retry(self, name: Name, fresh: bool, task: asyncio.Task[FlightResult]) -> None:
        """Keep a result that a retry would find nowhere else."""
        if task.cancelled():
            return
        result = task.result()
        match result:
            case Failed(remembered=remembered):
                if not (fresh and remembered):
                    return
                size = size_of(result.refusal)
            case _ if is_stored(result) and not fresh:
                return
            case Bought():
                result, size = replace(result, body=b""), len(result.shared.body)
            case _:
                size = len(result.stored.body)
        self.retries.keep(name, result, size, self.now_ms())

    def _join_or_start(
        self, request: EditRequest, again: bool
    ) -> tuple[Flight[FlightResult], bool]:
        """The flight to wait for, and whether the request leads it."""
        key_id = request.caller.key_id
        names = request.coalescing_key.joinable_flights(key_id, retry=again)
        flight = self.flights.follow(names)
        led = flight is None
        if flight:
            flight.span.link()
        else:
            flight = self._start(request, request.coalescing_key.flight_key(key_id))
        keep = functools.partial(
            self._keep_for_retry, _name_of(request), request.coalescing_key.fresh
        )
        flight.task.add_done_callback(keep)
        return flight, led

    def _start(self, request: EditRequest, name: str) -> Flight[FlightResult]:
        request.spool.share()
        span = self.spans.flight("flight")
        run = functools.partial(self._run, request, span)
        flight = self.flights.start(run, name, request.broadcast, span)
        self._leading.add(request.request_id)
        flight.task.add_done_callback(lambda _: self._leading.discard(request.request_id))
        return flight

    async def _run(self, request: EditRequest, span: Span) -> FlightResult:
        with self.spans.under(span):
            result = await self.buy(request)
            span.set_attributes(span_facts(request, result))
            if isinstance(result, Failed):
                span.fail(result.refusal.code)
        self._remember(request, result)
        return result

    async def _wait(
        self,
        flight: Flight[FlightResult],
        request: EditRequest,
        gone: Gone,
        deadline: float | None,
    ) -> FlightResult:
        leaving = asyncio.ensure_future(gone())
        left_seconds = None
        if deadline is not None:
            left_seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait(
                {flight.task, leaving},
                timeout=left_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            leaving.cancel()
        if flight.task.done():
            return flight.task.result()
        if leaving.done() and not leaving.cancelled():
            raise ClientDisconnected
        self.retries.promise(_name_of(request), self.now_ms())
        raise Refusal(
            "still_running",
            "This edit is still running. Send the same request again: it joins the running edit "
            "and is not paid for twice.",
            retry_after_seconds=1,
        )


def _name(coalescing_key: CoalescingKey, key_id: str) -> Name:
    """Equal for a retry, which sends exactly the same fields."""
    return key_id, f"{coalescing_key.flight_key(key_id)} {coalescing_key.extra_digest}"


def _name_of(request: EditRequest) -> Name:
    return _name(request.coalescing_key, request.caller.key_id)


def _is_leaders_alone(result: FlightResult, request: EditRequest) -> bool:
    """May this follower's own flight end in another way?"""
    return isinstance(result, Failed) and (
        result.scope is FailureScope.LEADER
        or not request.coalescing_key.shares_failure(result.refusal.code, result.extra_digest)
    )
