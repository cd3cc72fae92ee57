"""First calls: until a model's price is known, one call of it is made at a time.

The permit is a lease in the state, so that it holds for all processes; it is taken over where its
owner's heartbeat stops. Within a process one flight at a time competes for it. A flight waits
before it has a slot, the lease of its edit, or money.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar
from zoneinfo import ZoneInfo

from gateway.coalescing.lease_transaction import Leases
from gateway.coalescing.lease_watcher import LeaseEnd, LeaseWatcher
from gateway.coalescing.rules.lease import Lease
from gateway.database.database import StateUnavailable
from gateway.ledger.rules import budget_refusals
from gateway.ledger.tables import price_status
from gateway.ledger.tables.picture_costs import seen_since
from gateway.model.windows import day_of
from gateway.pricing.rules.ceilings import PriceCeilings
from gateway.upstream.rules import refusals

Result = TypeVar("Result")
_KNOWN_MS = 60_000
"""How long a known price counts as known without another look at the state."""


@dataclass(kw_only=True, slots=True)
class FirstCalls:
    """Gives out the permits of models without a known price at one upstream."""

    enabled: bool
    upstream: str
    prices: PriceCeilings
    leases: Leases
    lease_watcher: LeaseWatcher
    zone: ZoneInfo
    now_ms: Callable[[], int]
    most_waiting: int
    wait_seconds: float
    _turns: defaultdict[str, asyncio.Lock] = field(
        init=False, default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _waiting: int = field(init=False, default=0)
    _known_until_ms: dict[str, int] = field(init=False, default_factory=dict)

    def is_busy(self, model: str) -> bool:
        """Is a first call of the model being made here, so that the next one waits?"""
        return model in self._turns and self._turns[model].locked()

    @contextlib.asynccontextmanager
    async def turn(self, model: str, request_id: str) -> AsyncIterator[Lease | None]:
        """Wait for the permit, and give it back at the end; None where the price is known.

        Raises `overloaded`, `shutting_down` and `state_unavailable`.
        """
        if await self._is_known(model):
            yield None
            return
        deadline = asyncio.get_running_loop().time() + self.wait_seconds
        with self._counted():
            await _in_time(self._turns[model].acquire(), deadline)
        try:
            if permit := await self._permit(model, request_id, deadline):
                try:
                    yield permit
                finally:
                    await self.leases.release(permit.key, permit.id)
                return
        finally:
            self._turns[model].release()
        yield None

    async def _is_known(self, model: str) -> bool:
        now_ms = self.now_ms()
        if not self.enabled or self._known_until_ms.get(model, 0) > now_ms:
            return True
        today = day_of(now_ms, self.zone)
        if self.prices.table.price_of(self.upstream, model, today):
            return True
        since_day = seen_since(today)
        try:
            known = await self.leases.database.read(
                lambda tx: price_status.is_known(tx, self.upstream, model, since_day)
            )
        except StateUnavailable:
            raise budget_refusals.state_unavailable() from None
        if known:
            self._known_until_ms[model] = now_ms + _KNOWN_MS
        return known

    async def _permit(self, model: str, request_id: str, deadline: float) -> Lease | None:
        """The permit, once no other process has it; None if the price became known meanwhile."""
        lost_ids: set[str] = set()
        while not await self._is_known(model):
            try:
                key = f"price:{self.upstream}/{model}"
                permit, holder = await self.leases.take(key, request_id, lost_ids)
            except StateUnavailable:
                raise budget_refusals.state_unavailable() from None
            if holder is None:
                return permit
            ended = await _in_time(self.lease_watcher.end_of(holder), deadline)
            if ended.how is LeaseEnd.SHUTTING_DOWN:
                raise refusals.refusal_while_closing()
            if ended.how is LeaseEnd.OWNER_LOST:
                lost_ids.add(holder.id)
        return None

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        if self._waiting >= self.most_waiting:
            raise refusals.refusal_of_full_queue()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


async def _in_time(wait: Awaitable[Result], deadline: float) -> Result:
    try:
        async with asyncio.timeout_at(deadline):
            return await wait
    except TimeoutError:
        raise refusals.refusal_of_long_wait() from None
