"""Gauges: updated in the background, never on the path of a request or of a scrape.

The gauges of the process come from memory. The shared gauges ask the state, the results and the
disks, which takes time: a scrape reads what the last round found.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cache.result_store import ResultStore
from gateway.coalescing.flights import SingleFlight
from gateway.database.database import Transaction
from gateway.edits.flight_result import FlightResult
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables.budget_gauges import (
    ReservationCounts,
    budget_balances,
    count_reservations,
    key_budget_balances,
)
from gateway.ledger.tables.price_status import count_stopped
from gateway.model.money import NANOS
from gateway.model.reservation import Balance
from gateway.model.windows import day_of
from gateway.runtime.money_gauges import MoneyGauges, MoneyReading, set_money
from gateway.runtime.process_context import ProcessContext
from gateway.runtime.readiness import LONG_LOG_BYTES, Readiness
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics, families
from gateway.telemetry.metrics.bounded_labels import BoundedLabels
from gateway.telemetry.usage_recorder import UsageRecorder

Labels = tuple[str, ...]
Gauges = dict[Labels, float]


@dataclass(frozen=True, slots=True)
class GaugeCollector:
    """Sets every gauge."""

    context: ProcessContext
    results: ResultStore
    flights: SingleFlight[FlightResult]
    recorder: UsageRecorder
    readiness: Readiness
    money: MoneyGauges

    def update_process(self) -> None:
        """Set the gauges of this process from memory."""
        metrics = self.context.metrics
        metrics.gauge(families.FLIGHTS).set(self.flights.in_flight)
        metrics.gauge(families.FOLLOWERS).set(self.flights.followers)
        metrics.gauge(families.USAGE_WAITING).set(self.recorder.waiting)
        metrics.gauge(families.USAGE_LAG).set(self.recorder.lag_seconds)
        metrics.gauge(families.STATE_UP).set(self.readiness.state_up)

    async def update_shared(self) -> None:
        """Ask the state, the results and the disks; a failure of one leaves the others."""
        rounds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "survey_state": self._update_state,
            "survey_results": self._update_results,
            "survey_disks": self._update_disks,
        }
        failures = self.context.metrics.counter(families.RECOVERED_FAILURES)
        for name in rounds:
            failures.labels(name)  # exported as 0 until it fails
        for name, update in rounds.items():
            try:
                await update()
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                self.context.on_failure(name, error)

    async def _update_state(self) -> None:
        metrics, zone = self.context.metrics, self.context.settings.zone
        now_ms = self.context.clock()
        day = day_of(now_ms, zone)
        rule = Abandonment(now_ms, self.context.settings.longest_flight_ms)
        most_keys = self.context.settings.metrics.max_key_budgets

        async def read(
            tx: Transaction,
        ) -> tuple[
            Sequence[Balance],
            Sequence[tuple[str, Balance]],
            ReservationCounts,
            int,
            MoneyReading,
        ]:
            return (
                await budget_balances(tx, day, zone),
                await key_budget_balances(tx, day, zone, most_keys),
                await count_reservations(tx, rule),
                await count_stopped(tx),
                await self.money.read(tx, now_ms),
            )

        balances, keys, counts, stopped, money = await self.context.database.read(read)
        metrics.set_shared(families.PRICES_UNCONFIRMED, {(): stopped})
        set_money(metrics, money)
        metrics.set_shared(families.RESERVATIONS_OPEN, {(): counts.open})
        metrics.set_shared(families.RESERVATIONS_UNRESOLVED, {(): counts.unresolved})
        accounts = (each.account for each in balances)
        budgeted = (each.name for each in accounts if each.level == "team")
        teams = metrics.shared_labels("team", (*money.first_booked("team"), *budgeted))
        _update_budgets(metrics, balances, teams)
        _update_key_budgets(metrics, keys)
        starts: Gauges = {}
        ends: Gauges = {}
        for balance in balances:
            labels, of_budget = _labels(teams, balance), balance.window
            if of_budget.starts_ms is not None and of_budget.resets_ms is not None:
                starts[labels] = of_budget.starts_ms / 1000
                ends[labels] = of_budget.resets_ms / 1000
        metrics.set_shared(families.BUDGET_START, starts)
        metrics.set_shared(families.BUDGET_END, ends)

    async def _update_results(self) -> None:
        metrics = self.context.metrics
        metrics.count_cache(self.results.counts())
        stats = await self.results.local_stats()
        metrics.set_shared(families.CACHE_ENTRIES, {(): stats.entries})
        metrics.set_shared(families.CACHE_BYTES, {(): stats.bytes})
        metrics.set_shared(families.CACHE_MAX_BYTES, {(): self.context.settings.cache.max_bytes})
        oldest_ms, now_ms = stats.oldest_ms, self.context.clock()
        ages: Gauges = {} if oldest_ms is None else {(): max(0, now_ms - oldest_ms) / 1000}
        metrics.set_shared(families.CACHE_AGE, ages)

    async def _update_disks(self) -> None:
        if (log_bytes := self.readiness.log_bytes) is not None:
            self.context.metrics.set_shared(families.STATE_LOG_BYTES, {(): log_bytes})
            if log_bytes > LONG_LOG_BYTES:
                self.context.log.warning("the state's log is not emptied", bytes=log_bytes)
        usages = await asyncio.to_thread(_disk_usages, self.context.settings)
        free: Gauges = {(name,): usage[2] for name, usage in usages.items()}
        total: Gauges = {(name,): usage[0] for name, usage in usages.items()}
        self.context.metrics.set_shared(families.DISK_FREE, free)
        self.context.metrics.set_shared(families.DISK_SIZE, total)


def _update_budgets(metrics: Metrics, balances: Sequence[Balance], teams: BoundedLabels) -> None:
    """Sum up per labels: teams beyond the label limit share one series per period."""
    limits: Counter[Labels] = Counter()
    spent: Counter[Labels] = Counter()
    held: Counter[Labels] = Counter()
    for balance in balances:
        labels = _labels(teams, balance)
        limits[labels] += balance.limit_nanos or 0
        spent[labels] += balance.spent_nanos
        held[labels] += balance.held_nanos
    metrics.set_shared(families.BUDGET_LIMIT, _dollars(limits))
    metrics.set_shared(families.BUDGET_SPENT, _dollars(spent))
    metrics.set_shared(families.BUDGET_HELD, _dollars(held))


def _update_key_budgets(metrics: Metrics, keys: Sequence[tuple[str, Balance]]) -> None:
    labelled: list[tuple[Labels, Balance]] = [
        ((team, each.account.id.removeprefix("key:"), each.period), each) for team, each in keys
    ]
    for family, nanos in (
        (families.KEY_BUDGET_LIMIT, {labels: each.limit_nanos or 0 for labels, each in labelled}),
        (families.KEY_BUDGET_SPENT, {labels: each.spent_nanos for labels, each in labelled}),
        (families.KEY_BUDGET_HELD, {labels: each.held_nanos for labels, each in labelled}),
    ):
        metrics.set_shared(family, _dollars(nanos))


def _labels(teams: BoundedLabels, balance: Balance) -> Labels:
    account = balance.account
    team = teams.if_known(account.name) if account.level == "team" else ""
    return account.level, team, balance.period


def _dollars(nanos: Mapping[Labels, int]) -> Gauges:
    return {labels: amount / NANOS for labels, amount in nanos.items()}


def _disk_usages(settings: Settings) -> dict[str, tuple[int, int, int]]:
    """Total, used and free bytes of each folder's disk; the state's only where it is a file."""
    folders = {
        "results": settings.cache.folder,
        "spool": Path(settings.server.spool_folder or tempfile.gettempdir()),
    }
    if settings.state.sqlite_file:
        folders["state"] = settings.state.sqlite_file.parent
    return {name: shutil.disk_usage(_existing(folder)) for name, folder in folders.items()}


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
