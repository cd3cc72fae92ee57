"""Monitors the upstreams: an alert when one goes down, and when it answers again.

An upstream is down while its circuit is open. Each process has a circuit of its own; the first
one to open begins the outage, and the first one to close ends it. After a restart the first
answer ends an outage from before. The process that writes it sends the alert.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.alerts.announcing import announce
from gateway.alerts.delivery import Delivery
from gateway.alerts.rules.outages import (
    DOWN,
    UP,
    Outage,
    Redirect,
    event_of,
    facts_of,
    redirects,
    sentence,
)
from gateway.alerts.tables import outages
from gateway.alerts.tables.outbox import Alert
from gateway.database.database import Database, Transaction
from gateway.database.ids import new_id
from gateway.model.windows import day_of
from gateway.pricing.rules.ceilings import PriceCeilings
from gateway.pricing.rules.image_tokens import USUAL
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families
from gateway.upstream.limiter import Health, UpstreamLimiter
from gateway.upstream.rules.routing import ModelRoute, Target

_NOTHING_KNOWN = Health()
_LOGGED = {DOWN: "an upstream is down", UP: "an upstream answers again"}


@dataclass(kw_only=True, slots=True)
class OutageMonitor:
    """Compares what the limiters have found out with the state, as soon as it changes."""

    database: Database
    delivery: Delivery
    limiters: Mapping[str, UpstreamLimiter]
    routes: Collection[ModelRoute]
    prices: PriceCeilings
    zone: ZoneInfo
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]
    _written: dict[str, Health] = field(init=False, default_factory=dict)

    async def check(self) -> None:
        """Write what has changed, and send its alerts. Raises StateUnavailable."""
        for name, limiter in self.limiters.items():
            health = limiter.health
            if health != self._written.get(name, _NOTHING_KNOWN):
                await self._write(name, health)
                self._written[name] = health

    async def _write(self, upstream: str, health: Health) -> None:
        moved = self._redirects(upstream)

        async def write(tx: Transaction) -> Outage | None:
            if health.code:
                found = await outages.begin(tx, Outage(upstream, health.failed_ms, health.code))
            else:
                found = await outages.end(tx, upstream, health.answered_ms)
            if found:
                facts = {"text": sentence(found, moved), **facts_of(found, moved)}
                alert = Alert(new_id("alr_"), event_of(found), facts)
                await announce(tx, alert, self.now_ms(), self.delivery.channels)
            return found

        if changed := await self.database.write(write, urgent=False):
            event = event_of(changed)
            self.metrics.counter(families.ALERTS).labels(event, "raised").inc()
            self.log.warning(_LOGGED[event], **facts_of(changed, moved))
            await self.delivery.send_due()

    def _redirects(self, upstream: str) -> Sequence[Redirect]:
        down = [name for name, limiter in self.limiters.items() if limiter.circuit.is_open]
        day = day_of(self.now_ms(), self.zone)

        def ceiling_nanos(target: Target) -> int:
            return self.prices.of(target.upstream, target.model, USUAL, day).nanos

        return redirects(self.routes, upstream, set(down) - {upstream}, ceiling_nanos)
