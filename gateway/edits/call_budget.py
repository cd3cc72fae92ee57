"""The money of an edit's upstream call: check, reserve, settle, void, and its metrics."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.coalescing.lease_transaction import LeaseTransaction
from gateway.edits.edit_request import EditRequest
from gateway.ledger.budget_service import BudgetService
from gateway.ledger.tables.booking import paid_images
from gateway.model.money import usd
from gateway.model.reservation import CallFacts, Reservation, Settled, Settlement
from gateway.pricing.rules.prices import PriceCeilings, Quote, asked_of, price_fields
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.upstream.limiter import Permit


@dataclass(slots=True)
class PaidCall:
    """A call with its money, its lease and its upstream slot."""

    quote: Quote
    reservation: Reservation
    lease: LeaseTransaction
    permit: Permit
    counted: bool = False
    """Its cost is in the metrics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallBudget:
    """Pays for upstream calls."""

    budgets: BudgetService
    upstream: str
    prices: PriceCeilings
    metrics: Metrics
    log: EventLog

    async def check(self, request: EditRequest) -> None:
        """Raises Refusal if there is no money for this call and waiting will not help."""
        await self.budgets.check(self._quote(request))

    async def reserve(
        self, request: EditRequest, lease: LeaseTransaction, permit: Permit
    ) -> PaidCall:
        """Hold the money and take the lease in one transaction. Raises Refusal and Blocked.

        The permit is released while it waits for money.
        """
        quote = self._quote(request)
        reservation = await self.budgets.reserve(quote, lease, permit.release)
        return PaidCall(quote, reservation, lease, permit)

    def _quote(self, request: EditRequest) -> Quote:
        edit = request.edit
        call = CallFacts(
            request_id=request.request_id,
            model=edit.model,
            route=edit.route,
            fingerprint=request.fingerprint.key,
            references=len(edit.references),
            body_bytes=edit.body_bytes,
            upstream=self.upstream,
            **price_fields(edit.fields),
        )
        asked = asked_of(edit)
        ceiling = self.prices.of(self.upstream, edit.model, asked, self.budgets.today)
        by_tokens = ceiling.basis == "table"
        return Quote(request.caller, call, ceiling.nanos, edit.n, by_tokens=by_tokens)

    async def settle(self, request: EditRequest, paid: PaidCall, settlement: Settlement) -> Settled:
        """Book the call's cost. A second settlement changes nothing."""
        settled = await self.budgets.settle(paid.quote, paid.reservation, settlement, paid.lease)
        if not paid.counted:
            paid.counted = True
            self._count(request, paid.reservation, settlement, settled)
        return settled

    async def void(self, paid: PaidCall) -> None:
        """Release the money of a call that provably never left."""
        await self.budgets.void(paid.reservation.id, paid.lease)

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
            self.metrics.record_cost(
                **labels,
                request_id=request.request_id,
                key_id=request.caller.key_id,
                cost_nanos=cost,
                estimated=settled.estimated,
                pictures=pictures,
            )
        if settled.overrun_nanos:
            self.metrics.record_overrun(**labels)
            self.log.warning(
                "a call cost more than its ceiling",
                **labels,
                cost_usd=usd(cost),
                ceiling_usd=usd(reservation.ceiling_nanos),
            )
        if settled.stopped_nanos is not None:
            self.log.warning(
                "a model is stopped: a picture cost more than 10 times its price",
                model=request.edit.model,
                upstream=self.upstream,
                picture_usd=usd(settled.stopped_nanos),
                price_usd=usd(reservation.price_nanos),
                remedy=f"gateway prices confirm {request.edit.model}",
            )
        if settled.price_lifted:
            self.log.warning(
                "calls no longer wait for a price: the answers of the model state no cost",
                model=request.edit.model,
                upstream=self.upstream,
            )
