"""A quote: what would happen to a request, and what it would cost. Nothing is bought or changed.

The checks are those of the pipeline and of a purchase, in the same order. All that is looked up has
the name of the caller's own edit, which contains who may share it: what is another's is looked for
nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.rules.failure_memory import refusal_of
from gateway.coalescing.rules.lease import LeaseStatus
from gateway.database.database import StateUnavailable
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import BOUGHT_NOTHING, Bought, Failed, FlightResult
from gateway.edits.lead_or_follow import Coalescer
from gateway.edits.quotation import FREE, Quotation, Would
from gateway.edits.upstream import Upstream
from gateway.ledger.budget_service import BudgetService, Left
from gateway.ledger.rules.budget_refusals import state_unavailable
from gateway.model.caller import Caller
from gateway.model.errors import Refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class Quoter:
    """Says what would happen to requests for which no result is stored."""

    coalescer: Coalescer
    leases: Leases
    upstreams: Mapping[str, Upstream]
    budgets: BudgetService
    silent_ms: int
    now_ms: Callable[[], int]

    async def quote(self, request: EditRequest) -> Quotation:
        """Raises Refusal where the request would be refused."""
        known = self.coalescer.would_recall(request)
        if isinstance(known, Failed):
            raise replace(known.refusal)
        if known:
            return quotation_of_hit(known)
        here = self.coalescer.would_join(request.coalescing_key, request.caller.key_id)
        if here.in_flight or await self._is_bought_elsewhere(request):
            target = request.target
            return Quotation(
                Would.JOIN, target.model, request.fingerprint.key, target.upstream, FREE
            )
        return await self._purchase(request)

    async def left(self, caller: Caller) -> Left:
        """What the caller can still buy, as far as that is known."""
        try:
            return await self.budgets.left(caller)
        except Refusal:
            return Left()

    async def _is_bought_elsewhere(self, request: EditRequest) -> bool:
        """Would it share a call of another process? Raises the failure that it would get."""
        silent_since_ms = self.now_ms() - self.silent_ms
        try:
            blocking = await self.leases.blocking(request.coalescing_key, silent_since_ms)
        except StateUnavailable as error:
            raise state_unavailable(error.reason) from None
        if blocking is None:
            return False
        lease, status = blocking
        if status is LeaseStatus.FAILED and lease.failure:
            raise refusal_of(lease.failure)
        return True

    async def _purchase(self, request: EditRequest) -> Quotation:
        """The call at the first target that takes calls now."""
        for each in request.at_targets:
            upstream = self.upstreams[each.target.upstream]
            try:
                costs = await upstream.budget.quote(each)
                upstream.limiter.check()
                break
            except Refusal as refusal:
                if refusal.code not in BOUGHT_NOTHING or each is request.at_targets[-1]:
                    raise
        target = each.target
        return Quotation(Would.BUY, target.model, each.fingerprint.key, target.upstream, costs)


def quotation_of_hit(result: FlightResult) -> Quotation:
    """The quotation of a request that would get this stored result, or an earlier one's."""
    if isinstance(result, Failed):
        raise replace(result.refusal)
    entry = (result.shared if isinstance(result, Bought) else result.stored).entry
    return Quotation(
        Would.HIT, entry.model, entry.key, entry.upstream, FREE, saved_nanos=entry.cost_nanos
    )
