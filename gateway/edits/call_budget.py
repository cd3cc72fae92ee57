"""The money of an edit's upstream call: check, reserve, settle, void, and its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gateway.coalescing.lease_transaction import LeaseTransaction
from gateway.edits.edit_request import EditRequest
from gateway.ledger.budget_service import BudgetService, Costs
from gateway.ledger.tables.booking import paid_images
from gateway.model.edit import AdapterFacts
from gateway.model.money import usd
from gateway.model.reservation import CallFacts, Reservation, Settled, Settlement
from gateway.pricing.rules.ceilings import (
    PriceCeilings,
    Quote,
    asked_of,
    differ,
    plausible,
)
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.upstream.limiter import Permit

_WARNING_MS = 3_600_000
_MOST_WARNED = 1_000


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
    implausible_cost_nanos: int
    metrics: Metrics
    log: EventLog
    facts: AdapterFacts = field(default_factory=AdapterFacts)
    _warned: dict[tuple[str, str], int] = field(init=False, default_factory=dict)
    """By kind of warning and model: when it was last given, in milliseconds."""

    async def check(self, request: EditRequest) -> int:
        """The amount that this call would reserve now, in nano-dollars.

        Raises Refusal if there is no money for it and waiting will not help.
        """
        return await self.budgets.check(self._quote(request))

    async def quote(self, request: EditRequest) -> Costs:
        """What this call would cost. Raises Refusal as `check` does."""
        return await self.budgets.quote(self._quote(request))

    async def reserve(
        self, request: EditRequest, lease: LeaseTransaction, permit: Permit
    ) -> PaidCall:
        """Hold the money and take the lease in one transaction. Raises Refusal and Blocked.

        The permit is released while it waits for money.
        """
        quote = self._quote(request)
        if self.prices.basis(self.upstream, quote.call.model, self.budgets.today) == "default":
            self._warn_once_an_hour("no price of a model is known", quote.call.model)
        reservation = await self.budgets.reserve(quote, lease, permit.release)
        return PaidCall(quote, reservation, lease, permit)

    def _quote(self, request: EditRequest) -> Quote:
        edit, target = request.edit, request.target
        asked = asked_of(edit, self.facts)
        call = CallFacts(
            request_id=request.request_id,
            model=target.model,
            asked_model=request.asked_model if request.asked_model != target.model else "",
            upstream_model=target.name if target.name != target.model else "",
            route=edit.route,
            fingerprint=request.fingerprint.key,
            references=len(edit.references),
            body_bytes=edit.body_bytes,
            upstream=self.upstream,
            quality=asked.quality,
            size=asked.size,
        )
        ceiling = self.prices.of(self.upstream, target.model, asked, self.budgets.today)
        by_table = ceiling.basis == "table"
        return Quote(request.caller, call, ceiling.nanos, edit.n, by_table=by_table)

    async def settle(self, request: EditRequest, paid: PaidCall, settlement: Settlement) -> Settled:
        """Book the call's cost. A second settlement changes nothing."""
        settlement = self._computed(paid, settlement)
        settled = await self.budgets.settle(paid.quote, paid.reservation, settlement, paid.lease)
        if not paid.counted:
            paid.counted = True
            self._count(request, paid.reservation, settlement, settled)
        return settled

    def _computed(self, paid: PaidCall, settlement: Settlement) -> Settlement:
        """With what the tokens cost, which counts where the upstream stated no cost."""
        reservation, table = paid.reservation, self.prices.table
        computed = table.cost_of(
            settlement.usage, reservation.price_key, reservation.images, reservation.day
        )
        if settlement.status != 200 or computed is None:
            return settlement
        settlement = replace(settlement, computed_nanos=computed, price_version=table.version)
        if settlement.cost_nanos is None and settlement.implausible_nanos is None:
            believed = plausible(computed, self.implausible_cost_nanos * reservation.images)
            odd = computed if believed is None else None
            return replace(
                settlement, cost_nanos=believed, implausible_nanos=odd, cost_kind="computed"
            )
        if differ(settlement.cost_nanos, computed):
            self._warn_once_an_hour(
                "the stated cost differs from the computed one by more than 1 %",
                reservation.price_key.model,
                stated_usd=usd(settlement.cost_nanos or 0),
                computed_usd=usd(computed),
                price_version=table.version,
            )
        return settlement

    def _warn_once_an_hour(self, event: str, model: str, **facts: str) -> None:
        now_ms, last_ms = self.budgets.now_ms(), self._warned.get((event, model))
        if last_ms is None and len(self._warned) >= _MOST_WARNED:
            return
        if last_ms is None or now_ms - last_ms >= _WARNING_MS:
            self._warned[event, model] = now_ms
            self.log.warning(event, model=model, upstream=self.upstream, **facts)

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
        if settlement.usage:
            self.metrics.record_tokens(model=request.target.model, usage=settlement.usage)
        labels = {"model": request.target.model, "team": request.caller.team}
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
                model=request.target.model,
                upstream=self.upstream,
                picture_usd=usd(settled.stopped_nanos),
                price_usd=usd(reservation.price_nanos),
                remedy=f"gateway prices confirm {request.target.model} --upstream {self.upstream}",
            )
        if settled.price_lifted:
            self.log.warning(
                "calls no longer wait for a price: the answers of the model state no cost",
                model=request.target.model,
                upstream=self.upstream,
            )
