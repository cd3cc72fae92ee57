"""A minute of mixed traffic, scraped by a real Prometheus, and what is to be known of it after."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.database.database import Row, Transaction
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.dashboards import organisation
from tests.dashboards.asking import Window
from tests.dashboards.prometheus import Prometheus, scraping
from tests.dashboards.traffic import Crowd
from tests.support.serving import GatewayProcess, in_state
from tests.support.waiting import until


@dataclass
class Minute:
    """What has happened: the one who watched, the time range, and the books of both sides."""

    prometheus: Prometheus
    window: Window
    gateways: list[GatewayProcess]
    emulator: EmulatorServer
    settings: Settings

    def counted(self, metric: str) -> float:
        """A counter's sum over everything, at the end."""
        (found,) = self.prometheus.instant(f"sum({metric})", self.window.end)
        return found.last

    def booked(self) -> Sequence[Row]:
        """The ledger's rows."""
        return self._in_state("SELECT request_id, cost_nanos, estimated, status FROM ledger")

    def saved_nanos(self) -> int:
        """What single requests say they have saved."""
        rows = self._in_state("SELECT saved_nanos FROM usage_rows")
        return sum(row["saved_nanos"] for row in rows)

    def unbilled(self) -> list[Row]:
        """Rows of the ledger that differ from the upstream's statement."""
        billed: Counter[str] = Counter()
        for charge in self.emulator.statement():
            billed[charge["client_request_id"]] += charge["cost_nanos"]
        return [row for row in self.booked() if row["cost_nanos"] != billed[row["request_id"]]]

    def _in_state(self, query: str) -> Sequence[Row]:
        async def read(tx: Transaction) -> Sequence[Row]:
            return await tx.fetch(query)

        return in_state(self.settings, read)


@contextmanager
def a_minute(folder: Path, seconds: float) -> Iterator[Minute]:
    """Two gateways on one state, their Prometheus, and traffic for so long; all still up."""
    with ExitStack() as stack:
        emulator = stack.enter_context(EmulatorServer())
        tables = organisation.tables(folder, emulator)
        settings = organisation.found(folder, emulator)
        gateways = [
            stack.enter_context(GatewayProcess(tables, folder / name)) for name in ("one", "two")
        ]
        prometheus = stack.enter_context(scraping(gateways, folder / "prometheus"))
        start = time.time()
        crowd = Crowd(gateways, emulator, folder / "disk", seconds)
        asyncio.run(crowd.live())
        until(lambda: _all_is_told(prometheus, crowd.sent), seconds=60)
        window = Window(start, time.time())
        yield Minute(prometheus, window, gateways, emulator, settings)


def _all_is_told(prometheus: Prometheus, sent: int) -> bool:
    """Has it scraped every request, and the end of the last call?"""
    now = time.time()
    requests = prometheus.instant("sum(gateway_requests_total)", now)
    waiting = prometheus.instant(
        "sum(gateway_flights) + sum(gateway_usage_rows_waiting) + max(gateway_reservations_open)",
        now,
    )
    return [each.last for each in (*requests, *waiting)] == [sent, 0]
