"""Buying a picture: the work of the request that leads a flight.

At each target in turn, until one of them may have bought something: look up again, acquire a slot,
reserve, forward, settle, fetch what is given as URLs, store. It runs as a task of the app: a client
that leaves does not stop it. After `reserve`, every path ends in a settlement or a void.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from itertools import product

from gateway.coalescing.lease_transaction import Blocked, Leases, LeaseTransaction
from gateway.coalescing.rules.failure_memory import MemoryTimes, Remembered, failure_of
from gateway.edits.call_budget import PaidCall
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import (
    BOUGHT_NOTHING,
    Answered,
    Bought,
    CallFailed,
    CallResult,
    Failed,
    FailureScope,
    FlightResult,
    Found,
)
from gateway.edits.follow_other_process import Follower
from gateway.edits.presentation import Presentation
from gateway.edits.result_cache import ResultCache
from gateway.edits.upstream import Upstream
from gateway.model.errors import Refusal
from gateway.model.reservation import Settlement
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families
from gateway.telemetry.request_record import Stage
from gateway.telemetry.spans import Spans
from gateway.upstream.picture_fetcher import PictureNotFetched

LEADER_ONLY = frozenset(
    {
        "insufficient_quota", "end_user_budget", "budget_held", "spending_paused",
        "rate_limit_exceeded", "missing_field",
    }
)  # fmt: skip
INTERNAL = Refusal(
    "internal_error",
    "The gateway failed. Its log has the error under this request's id, and GET /v1/requests/ID "
    "says whether anything was charged.",
)
UNKNOWN = Settlement(cost_nanos=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Buyer:
    """Buys pictures."""

    cache: ResultCache
    upstreams: Mapping[str, Upstream]
    leases: Leases
    follower: Follower
    memory: MemoryTimes
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]
    spans: Spans

    def __post_init__(self) -> None:
        fallbacks = self.metrics.counter(families.FALLBACKS)
        for upstream, code in product(self.upstreams, BOUGHT_NOTHING):
            fallbacks.labels(upstream, code)  # exported as 0, or the first would be in no increase

    async def buy(self, request: EditRequest) -> FlightResult:
        """The whole flight. Never raises: an error is a `Failed`."""
        try:
            for each in request.at_targets:
                result = await self._at_target(each)
                if not isinstance(result, Failed) or not result.bought_nothing:
                    break
                if each is not request.at_targets[-1]:
                    self._report_fallback(each, result)
            return result
        except Exception as error:  # noqa: BLE001 - followers wait for a result
            self.log.error("a flight crashed", error)
            return Failed(INTERNAL)
        finally:
            request.spool.close()

    def _report_fallback(self, request: EditRequest, failed: Failed) -> None:
        upstream, code = request.target.upstream, failed.refusal.code
        self.metrics.counter(families.FALLBACKS).labels(upstream, code).inc()
        self.log.info(
            "an edit goes on to the next target",
            upstream=upstream,
            model=request.target.model,
            code=code,
        )

    async def _at_target(self, request: EditRequest) -> FlightResult:
        try:
            result = await self._buy_or_follow(request)
        except Refusal as refusal:
            leader_only = refusal.code in LEADER_ONLY
            scope = FailureScope.LEADER if leader_only else FailureScope.SHARED
            result = Failed(refusal, scope)
        if isinstance(result, Failed):
            return replace(
                result,
                fingerprint=result.fingerprint or request.fingerprint.key,
                upstream=request.target.upstream if result.refusal.source == "upstream" else "",
            )
        return result

    async def _buy_or_follow(self, request: EditRequest) -> FlightResult:
        """Repeats until there is a result."""
        lease = self.leases.of(request.coalescing_key, request.request_id)
        while True:
            if found := await self._look_up(request):
                return found
            try:
                return await self._buy(request, lease)
            except Blocked as blocked:
                with self._stage(request, "follow"):
                    followed = await self.follower.follow(request, lease, blocked)
            if followed:
                return followed

    async def _buy(self, request: EditRequest, lease: LeaseTransaction) -> FlightResult:
        """One purchase: alone if the model's price is not known. Raises Blocked and Refusal."""
        model, upstream = request.target.model, self._upstream(request)
        if upstream.limiter.is_full or upstream.first_calls.is_busy(model):
            # A request without money is refused before it waits.
            with self._stage(request, "check_budget"):
                await upstream.budget.check(request)
        async with AsyncExitStack() as stack:
            with self._stage(request, "first_call"):
                turn = upstream.first_calls.turn(model, request.request_id)
                lease.permit = await stack.enter_async_context(turn)
            paid = await self._acquire_and_reserve(request, lease)
            return await self._pay_for(request, paid) if isinstance(paid, PaidCall) else paid

    async def _look_up(self, request: EditRequest) -> Found | None:
        """Another flight may have stored the result since the request's own look-up."""
        with self._stage(request, "look_again"):
            stored = await self.cache.find(request)
        return Found(stored) if stored and self.cache.may_serve(stored, request) else None

    async def _acquire_and_reserve(
        self, request: EditRequest, lease: LeaseTransaction
    ) -> PaidCall | Found:
        """An upstream slot first, then the money: a request in the queue holds none."""
        upstream = self._upstream(request)
        with ExitStack() as stack:
            with self._stage(request, "queue"):
                permit = await upstream.limiter.acquire(request.caller.team)
            stack.callback(permit.release)
            if (permit.queued or lease.permit) and (found := await self._look_up(request)):
                return found
            with self._stage(request, "reserve"):
                paid = await upstream.budget.reserve(request, lease, permit)
            stack.pop_all()
        return paid

    async def _pay_for(self, request: EditRequest, paid: PaidCall) -> Bought | Failed:
        """Forward, settle, store."""
        try:
            call = await self._forward(request, paid)
            if isinstance(call, CallFailed):
                return await self._settle_failure(request, paid, call)
            return await self._settle_and_store(request, paid, call)
        except Exception as error:  # noqa: BLE001 - the call may have been charged
            self.log.error("a flight crashed", error)
            paid.permit.release()
            paid.lease.abandon()
            settled = await self._upstream(request).budget.settle(request, paid, UNKNOWN)
            return Failed(INTERNAL, settled=settled)

    async def _forward(self, request: EditRequest, paid: PaidCall) -> CallResult:
        """The upstream call. A slot that was released during a wait for money is reacquired."""
        caller, permit = request.caller, paid.permit
        self.metrics.expect_cost(model=request.target.model, team=caller.team, key_id=caller.key_id)
        try:
            with self._stage(request, "queue"):
                await permit.reacquire()
        except Refusal as refusal:
            return CallFailed(refusal, None)
        try:
            with self._stage(request, "forward"):
                return await self._upstream(request).forwarder.forward(request, permit)
        finally:
            permit.release()

    async def _settle_failure(
        self, request: EditRequest, paid: PaidCall, call: CallFailed
    ) -> Failed:
        """Settle at what the failed call may have cost, or void it if it never left."""
        refusal, settlement = call.refusal, call.settlement
        budget = self._upstream(request).budget
        extra_digest = request.fingerprint.extra_digest
        if settlement is None:
            paid.lease.failed(failure_of(refusal, extra_digest), 0)
            with self._stage(request, "settle"):
                await budget.void(paid)
            return Failed(refusal, extra_digest=extra_digest)
        kept = request.coalescing_key.recalls_refusals
        seconds = self.memory.seconds_for(refusal, settlement.cost_nanos, keeps_refusals=kept)
        now_ms, memory_ms = self.now_ms(), int(seconds * 1000)
        paid.lease.failed(failure_of(refusal, extra_digest), memory_ms)
        with self._stage(request, "settle"):
            settled = await budget.settle(request, paid, settlement)
        return Failed(
            refusal,
            remembered=Remembered(refusal, now_ms, now_ms + memory_ms) if memory_ms else None,
            extra_digest=extra_digest,
            settled=settled,
            upstream_request_id=settlement.upstream_request_id,
        )

    async def _settle_and_store(
        self, request: EditRequest, paid: PaidCall, call: Answered
    ) -> Bought:
        """A result that cannot be stored is only a miss for later requests."""
        upstream = self._upstream(request)
        fetches = call.parsed.has_urls and request.presentation is not Presentation.UPSTREAM_URLS
        paid.lease.succeeded(int(1000 * upstream.pictures.seconds) if fetches else 0)
        with self._stage(request, "settle"):
            settled = await upstream.budget.settle(request, paid, call.settlement)
        if fetches:
            with self._stage(request, "fetch"):
                call = await self._fetch_pictures(request, call)
        with self._stage(request, "store"):
            bought = await self.cache.store(request, call, settled)
            if bought.not_stored_because:
                key = request.coalescing_key.lease_key
                await self.leases.release(key, paid.reservation.id)
        return bought

    async def _fetch_pictures(self, request: EditRequest, call: Answered) -> Answered:
        """The answer with the pictures of its URLs in it, or as it is if one can't be had."""
        urls = call.parsed.urls
        try:
            if len(urls) > request.edit.n:
                raise PictureNotFetched(f"it gives {len(urls)} URLs for {request.edit.n} pictures")
            pictures = await self._upstream(request).pictures.fetch(urls)
        except PictureNotFetched as error:
            self.log.warning(
                "a picture is not stored: its URL is passed on",
                upstream=request.target.upstream,
                model=request.target.model,
                request_id=request.request_id,
                reason=str(error),
            )
            return call
        return replace(call, parsed=await asyncio.to_thread(call.parsed.with_pictures, pictures))

    def _upstream(self, request: EditRequest) -> Upstream:
        return self.upstreams[request.target.upstream]

    def _stage(self, request: EditRequest, name: str) -> Stage:
        return Stage(name, request.flight_stages, self.spans)
