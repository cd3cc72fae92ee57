"""Buying a picture: what the leader of a flight does, in the order in which it does it.

Look again, reserve (or follow who has it in the air elsewhere), forward, settle, store. It
runs as a task of the app: a client that leaves does not stop it. After `reserve` every way out
goes through `settle`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from gateway.cache.invalidation import Invalidation
from gateway.cache.result_store import ResultStore, Stored
from gateway.cache.rules.entry import may_serve
from gateway.coalescing.lease_transaction import Blocked, Leases, LeaseTransaction
from gateway.coalescing.rules.failure_memory import Remembered, failure_of, memory_seconds
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import CallSummary, Failed, FlightResult, Picture
from gateway.edits.follow_elsewhere import Follower
from gateway.edits.forward import Answered, Call, CallFailed, Forwarder
from gateway.ledger.budget_service import BudgetService
from gateway.ledger.tables.booking import paid_images
from gateway.model.entry import Entry
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.model.reservation import CallFacts, Reservation, Settled, Settlement
from gateway.pricing.rules.quote import Quote
from gateway.settings import Settings
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_record import Stage
from gateway.telemetry.spans import Spans
from gateway.upstream.limiter import Permit, UpstreamLimiter
from gateway.wire.answer import ParsedAnswer

LEADERS_OWN = frozenset({"insufficient_quota", "budget_held", "spending_paused"})
INTERNAL = Refusal(
    "internal_error",
    "The gateway made a mistake of its own; it is in its journal under this request's id. "
    "GET /v1/requests/ID says whether anything was charged.",
)
UNKNOWN = Settlement(cost_nanos=None)


@dataclass(slots=True)
class Paid:
    """A reservation, what goes along with it until it is resolved, and leave to fly."""

    reservation: Reservation
    lease_transaction: LeaseTransaction
    permit: Permit
    counted: bool = False
    """Is what it cost in the metrics?"""


class Buyer:
    """Carries out orders."""

    def __init__(
        self,
        *,
        settings: Settings,
        budgets: BudgetService,
        leases: Leases,
        follower: Follower,
        limiter: UpstreamLimiter,
        forwarder: Forwarder,
        results: ResultStore,
        invalidation: Invalidation,
        metrics: Metrics,
        log: EventLog,
        digest: Callable[[bytes], str],
        now_ms: Callable[[], int],
        spans: Spans,
    ) -> None:
        self._settings = settings
        self._budgets = budgets
        self._leases = leases
        self._follower = follower
        self._limiter = limiter
        self._forwarder = forwarder
        self._results = results
        self._invalidation = invalidation
        self._metrics = metrics
        self._log = log
        self._digest = digest
        self._now_ms = now_ms
        self._spans = spans

    async def buy(self, request: EditRequest) -> FlightResult:
        """The whole of a flight. Never raises: what goes wrong is in the landing."""
        stages = Stages(self._spans)
        try:
            return await self._buy(request, stages)
        except Refusal as refusal:
            own = refusal.code in LEADERS_OWN
            return Failed(refusal, leaders_own=own, summary=CallSummary(stages=stages.seconds))
        except Exception as error:  # noqa: BLE001 - a flight must land, or its followers hang
            self._log.fault("a flight crashed", error)
            return Failed(INTERNAL, summary=CallSummary(stages=stages.seconds))
        finally:
            request.spool.close()

    async def _buy(self, request: EditRequest, stages: Stages) -> FlightResult:
        paid = await self._lead(request, stages)
        if not isinstance(paid, Paid):
            return paid
        try:
            return await self._fly(request, paid, stages)
        except Exception:
            paid.permit.release()
            paid.lease_transaction.abandon()
            await self._book(request, paid, UNKNOWN)
            raise

    async def _fly(self, request: EditRequest, paid: Paid, stages: Stages) -> FlightResult:
        caller = request.caller
        self._metrics.expect_cost(model=request.edit.model, team=caller.team, key_id=caller.key_id)
        call = await self._call(request, paid.permit, stages)
        remembered = self._note(request, paid.lease_transaction, call)
        with stages.time("settle"):
            settled = await self.settle(request, paid, call)
        summary = CallSummary(
            settled=settled,
            upstream_request_id=call.settlement.upstream_request_id if call.settlement else "",
            stages=stages.seconds,
        )
        if isinstance(call, CallFailed) or settled is None:
            refusal = call.refusal if isinstance(call, CallFailed) else INTERNAL
            return Failed(
                refusal,
                remembered=remembered,
                extra_digest=request.fingerprint.extra_digest,
                summary=summary,
            )
        with stages.time("store"):
            return await self.store(request, paid, call, summary)

    async def _lead(self, request: EditRequest, stages: Stages) -> Paid | FlightResult:
        """Money for the call, unless there turns out to be a picture, or somebody else's call."""
        lease_transaction = self._leases.of(request.coalescing_key, request.request_id)
        while True:
            if found := await self._look(request, stages):
                return found
            try:
                return await self._line_up(request, lease_transaction, stages)
            except Blocked as blocked:
                with stages.time("follow"):
                    result = await self._follower.follow(request, lease_transaction, blocked)
            if result:
                return replace(result, summary=CallSummary(stages=stages.seconds))

    async def _line_up(
        self, request: EditRequest, lease_transaction: LeaseTransaction, stages: Stages
    ) -> Paid | Picture:
        """A seat at the upstream first, then the money: none is held by who waits in the line.

        Whoever is not paid for, or is to follow another's flight, takes up no seat, and who has
        no money is told so without a wait.
        """
        if self._limiter.is_full:
            with stages.time("afford"):
                await self.afford(request)
        with ExitStack() as stack:
            with stages.time("queue"):
                permit = await self._limiter.clear(request.caller.team)
            stack.callback(permit.release)
            if permit.queued and (found := await self._look(request, stages)):
                return found
            with stages.time("reserve"):
                reservation = await self.reserve(request, lease_transaction, permit)
            stack.pop_all()
        return Paid(reservation, lease_transaction, permit)

    async def _call(self, request: EditRequest, permit: Permit, stages: Stages) -> Call:
        """The call itself. Who had to wait for money has let others have the seat meanwhile."""
        try:
            with stages.time("queue"):
                await permit.reacquire()
        except Refusal as refusal:
            return CallFailed(refusal, None)
        try:
            with stages.time("forward"):
                return await self._forwarder.forward(request, permit)
        finally:
            permit.release()

    # --- look again -------------------------------------------------------------------

    async def _look(self, request: EditRequest, stages: Stages) -> Picture | None:
        with stages.time("look_again"):
            found = await self.look_again(request)
        return Picture(found.entry, found.body, found=True, stored=True) if found else None

    async def look_again(self, request: EditRequest) -> Stored | None:
        """Somebody may have stored it between the first look and this flight."""
        if not request.directives.may_look or request.fingerprint.uncacheable:
            return None
        stored = await self._results.get(request.fingerprint.key)
        if stored and may_serve(stored.entry, self._now_ms(), request.directives.max_age_seconds):
            return stored
        return None

    # --- reserve ----------------------------------------------------------------------

    async def reserve(
        self, request: EditRequest, lease_transaction: LeaseTransaction, permit: Permit
    ) -> Reservation:
        """Hold the most that this call can cost, at every level, and take the edit's lease.

        Raises Refusal, and Blocked where the lease is another flight's.
        """
        facts = CallFacts(
            request_id=request.request_id,
            model=request.edit.model,
            route=request.edit.route,
            fingerprint=request.fingerprint.key,
            references=len(request.edit.references),
            body_bytes=request.edit.body_bytes,
        )
        quote = Quote(request.caller, facts, self._price_nanos(request), request.edit.n)
        return await self._budgets.reserve(quote, lease_transaction, on_wait=permit.release)

    async def afford(self, request: EditRequest) -> None:
        """Is there money for this call, or will there be? Raises Refusal where there won't."""
        facts = CallFacts(request.request_id, request.edit.model)
        quote = Quote(request.caller, facts, self._price_nanos(request), request.edit.n)
        await self._budgets.check(quote)

    def _price_nanos(self, request: EditRequest) -> int:
        """What a picture of this call is reserved at, by the settings."""
        model = self._settings.models.get(request.edit.model)
        price = model.price_ceiling_usd if model else None
        return self._settings.upstream.price_ceiling_usd if price is None else price

    # --- settle -----------------------------------------------------------------------

    def _note(
        self, request: EditRequest, lease_transaction: LeaseTransaction, call: Call
    ) -> Remembered | None:
        """Have the settlement tell the others how it ended; what is remembered of a failure."""
        if isinstance(call, Answered):
            lease_transaction.succeeded()
            return None
        seconds = 0.0
        if call.settlement:
            seconds = memory_seconds(
                call.refusal,
                call.settlement.cost_nanos,
                failure_seconds=self._settings.cache.failure_memory_seconds,
                refusal_seconds=self._settings.cache.refusal_memory_seconds,
                stores=request.coalescing_key.stores,
            )
        lease_transaction.failed(
            failure_of(call.refusal, request.fingerprint.extra_digest), int(seconds * 1000)
        )
        if not seconds:
            return None
        now_ms = self._now_ms()
        return Remembered(call.refusal, now_ms, now_ms + int(seconds * 1000))

    async def settle(self, request: EditRequest, paid: Paid, call: Call) -> Settled | None:
        """Book what the call cost, or give the money back where it never left."""
        if call.settlement is None:
            await self._budgets.void(paid.reservation, paid.lease_transaction)
            return None
        return await self._book(request, paid, call.settlement)

    async def _book(self, request: EditRequest, paid: Paid, settlement: Settlement) -> Settled:
        """To book twice is to book once, in the ledger and in the metrics."""
        settled = await self._budgets.settle(
            request.caller.key_id, paid.reservation, settlement, paid.lease_transaction
        )
        if not paid.counted:
            paid.counted = True
            self._count(request, paid.reservation, settlement, settled)
        return settled

    def _count(
        self,
        request: EditRequest,
        reservation: Reservation,
        settlement: Settlement,
        settled: Settled,
    ) -> None:
        cost, images = settled.cost_nanos, reservation.images
        labels = {"model": request.edit.model, "team": request.caller.team}
        pictures = images if settled.estimated else paid_images(cost, settlement.status, images)
        if cost or pictures:
            self._metrics.record_cost(
                **labels,
                request_id=request.request_id,
                key_id=request.caller.key_id,
                cost_nanos=cost,
                estimated=settled.estimated,
                pictures=pictures,
            )
        if settled.overrun_nanos:
            self._metrics.record_overrun(**labels)
            self._log.warn(
                "a call cost more than its ceiling",
                **labels,
                cost_usd=usd(cost),
                ceiling_usd=usd(reservation.ceiling_nanos),
            )

    # --- store ------------------------------------------------------------------------

    async def store(
        self, request: EditRequest, paid: Paid, call: Answered, summary: CallSummary
    ) -> Picture:
        """Keep the result, unless there is a reason not to. A broken store is only a miss."""
        make = functools.partial(self._shared, request, call, summary)
        why_not = _why_not_stored(request, call.answered)
        if why_not:
            shared, kept = await asyncio.to_thread(make), False
        else:
            shared, kept = await self._results.keep(make)
            why_not = "" if kept else f"results-{self._results.failure or 'not-kept'}"
        if not kept:
            await self._leases.release(paid.lease_transaction, paid.reservation.id)
        elif request.directives.may_replace:
            self._invalidation.replaced(shared.entry.key, shared.entry.created_ms)
        return Picture(
            entry=shared.entry,
            shared_body=shared.body,
            body=call.answer.body,
            stored=kept,
            not_stored_because=why_not,
            summary=summary,
        )

    def _shared(self, request: EditRequest, call: Answered, summary: CallSummary) -> Stored:
        """The result for everybody who did not pay; megabytes are copied and hashed for it."""
        now_ms = self._now_ms()
        cost_nanos = summary.settled.cost_nanos if summary.settled else None
        body = call.answered.for_sharing(cost_nanos)
        entry = Entry(
            key=request.fingerprint.key,
            team=request.caller.team,
            key_id=request.caller.key_id,
            model=request.edit.model,
            cost_nanos=cost_nanos,
            created_ms=now_ms,
            expires_ms=now_ms + int(self._settings.cache.ttl * 1000),
            body_digest=self._digest(body),
            body_bytes=len(body),
            content_type="application/json",
            request_id=request.request_id,
            upstream_request_id=call.answer.request_id,
            references=tuple(upload.digest for upload in request.edit.references),
        )
        return Stored(entry, body)


class Stages:
    """The seconds that each stage of a flight took, added up where it came more than once."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self.seconds: dict[str, float] = {}

    def time(self, name: str) -> Stage:
        return Stage(name, self.seconds, self._spans)


def _why_not_stored(request: EditRequest, answered: ParsedAnswer) -> str:
    if request.fingerprint.uncacheable:
        return request.fingerprint.uncacheable
    if request.directives.no_store:
        return "no-store"
    return "url-results" if answered.has_urls else ""
