"""The context of one gateway process: what every part of it shares."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.database.clock import Clock
from gateway.database.monitored import MonitoredDatabase
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.pricing.rules.ceilings import PriceCeilings
from gateway.settings import Settings
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families
from gateway.telemetry.spans import Spans


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """Settings, telemetry, the state, prices, and this process as the ledger knows it."""

    settings: Settings
    log: EventLog
    metrics: Metrics
    spans: Spans
    database: MonitoredDatabase
    clock: Clock
    owner: Owner
    prices: PriceCeilings
    sandbox: bool = False
    """Are its requests those of sandbox keys?"""

    def on_failure(self, part: str, error: BaseException) -> None:
        """Count and log a failure that was recovered from."""
        self.metrics.counter(families.RECOVERED_FAILURES).labels(part).inc()
        self.log.warning("failure", part=part, error=f"{type(error).__name__}: {error}")
