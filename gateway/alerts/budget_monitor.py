"""Monitors the spending of each budget, and sends one alert for each threshold it passes.

About once a second a small query finds out whether anything was spent or changed; only then are
the accounts read whose spending changed. The process that writes an alert's row reports it: as a
log line, a metric, and by webhook and mail where they are set. A restart neither repeats nor misses
an alert.

A changed limit resets the thresholds of its window; an earlier limit repeats no alert.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.alerts import spending_alerts
from gateway.alerts.announcing import announce, announce_passed
from gateway.alerts.delivery import Delivery
from gateway.alerts.message import facts_of
from gateway.alerts.rules.spending import RefusedEdit
from gateway.alerts.rules.thresholds import FULL, PassedThreshold, newly_passed
from gateway.alerts.tables import refused_edits, thresholds
from gateway.alerts.tables.outbox import Alert
from gateway.alerts.tables.thresholds import Claim, MonitoredBudget, Snapshot
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.ledger.rules.budget import OverBudget
from gateway.model.caller import Caller
from gateway.model.windows import day_of
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

KEPT_MS = 100 * 86_400_000
"""Retention of alerts: longer than any window that ends."""


@dataclass(frozen=True, slots=True)
class _LastCheck:
    """The data of the last check, for comparison with the next one."""

    change: int = -1
    spent_nanos: int = -1
    counters: Mapping[str, thresholds.GenerationCounters] = field(default_factory=dict)

    def is_current(self, snapshot: Snapshot) -> bool:
        """True if nothing was spent or changed since."""
        return (self.change, self.spent_nanos) == (snapshot.change, snapshot.spent_nanos)


@dataclass(frozen=True, slots=True)
class _CheckResult:
    """The budgets whose spending moved, and the number of deliveries that are due."""

    last_check: _LastCheck
    due: int
    moved: Sequence[MonitoredBudget]
    alerts: Sequence[Alert] = ()


@dataclass(kw_only=True, slots=True)
class BudgetMonitor:
    """Monitors every budget. Several processes may monitor the same thresholds.

    `percents` are the default thresholds, for accounts without thresholds of their own.
    """

    database: Database
    delivery: Delivery
    percents: Sequence[int]
    zone: ZoneInfo
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    _last_check: _LastCheck = field(init=False, default_factory=_LastCheck)
    _refused: dict[str, RefusedEdit] = field(init=False, default_factory=dict)
    _refused_edits: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)
    """By account and day, not written yet."""
    _known_alerts: set[str] = field(init=False, default_factory=set)
    """The ids of those that are in the state."""

    def refused(self, over: OverBudget, caller: Caller) -> None:
        """Report that an edit was refused because this budget does not cover it. Never waits.

        An end user's budget is not monitored: there may be thousands.
        """
        if over.kind == "budget" and over.level != "user":
            self._refused[over.account.id] = RefusedEdit(
                over.limit, over.needed, caller.team, caller.owner
            )
            self._refused_edits[over.account.id, day_of(self.now_ms(), self.zone)] += 1

    async def close(self) -> None:
        """Check for the last time."""
        try:
            await self.check()
        except Exception as error:  # noqa: BLE001 - the next process makes up for it
            self.on_failure("warnings", error)
        await self.delivery.close()

    async def check(self) -> None:
        """Send alerts for thresholds newly passed, and start deliveries that are due.

        Raises StateUnavailable.
        """
        if self._refused_edits:
            await self._count_refused()
        refused, now_ms = dict(self._refused), self.now_ms()

        async def find(tx: Transaction) -> _CheckResult:
            return await self._read(tx, refused, now_ms)

        found = await self.database.read(find)
        claims = [claim for each in found.moved for claim in self._claims(each, refused)]
        if claims:
            await self._notify(claims, now_ms)
        fresh = [each for each in found.alerts if each.id not in self._known_alerts]
        if fresh:
            await self._add_alerts(fresh, now_ms)
        self._last_check = found.last_check
        for account, edit in refused.items():
            if self._refused.get(account) is edit:
                del self._refused[account]
        if found.due or fresh or claims:
            await self.delivery.send_due()

    async def _count_refused(self) -> None:
        counts, self._refused_edits = self._refused_edits, Counter()
        try:
            await self.database.write(lambda tx: refused_edits.add(tx, counts), urgent=False)
        except StateUnavailable:
            self._refused_edits.update(counts)
            raise

    async def _read(
        self, tx: Transaction, refused: Mapping[str, RefusedEdit], now_ms: int
    ) -> _CheckResult:
        snapshot = await thresholds.read_snapshot(tx, now_ms)
        last, moved = self._last_check, set(refused)
        if not last.is_current(snapshot):
            counters = await thresholds.generation_counters(tx)
            moved |= {name for name, mark in counters.items() if last.counters.get(name) != mark}
            last = _LastCheck(snapshot.change, snapshot.spent_nanos, counters)
        day = day_of(now_ms, self.zone)
        if not moved and last is self._last_check:
            return _CheckResult(last, snapshot.due, ())
        budgets = await thresholds.monitored_budgets(tx, moved, day, self.zone)
        console_url = self.delivery.console_url
        untold = {
            each.balance.account.id: refused[each.balance.account.id]
            for each in budgets
            if each.balance.account.id in refused and FULL not in self._percents_of(each)
        }
        alerts = await spending_alerts.find(tx, budgets, untold, day, now_ms, console_url)
        return _CheckResult(last, snapshot.due, budgets, alerts)

    def _percents_of(self, budget: MonitoredBudget) -> Sequence[int]:
        return self.percents if budget.percents is None else budget.percents

    def _claims(
        self, budget: MonitoredBudget, refused: Mapping[str, RefusedEdit]
    ) -> Iterable[Claim]:
        """Claims for the thresholds that this account has newly passed; the highest is posted."""
        balance, account = budget.balance, budget.balance.account
        if budget.limit_nanos is None:
            return
        edit = refused.get(account.id)
        was_refused = edit is not None and edit.limit_nanos == budget.limit_nanos
        percents = newly_passed(
            spent_nanos=balance.spent_nanos,
            limit_nanos=budget.limit_nanos,
            percents=self._percents_of(budget),
            notified=budget.notified,
            refused=was_refused,
        )
        for percent in percents:
            passed = PassedThreshold(
                account=account.id,
                level=account.level,
                name=account.name,
                team=budget.team,
                owner=budget.owner,
                percent=percent,
                limit_nanos=budget.limit_nanos,
                spent_nanos=balance.spent_nanos,
                held_nanos=balance.held_nanos,
                period=balance.period,
                first_day=budget.first_day,
                resets_ms=balance.resets_ms,
                refused=was_refused,
            )
            has_webhook = bool(budget.webhook_url or self.delivery.channels.webhook_url)
            highest = percent == percents[-1]
            yield Claim(f"wrn_{uuid.uuid4().hex}", passed, has_webhook and highest, highest)

    async def _add_alerts(self, fresh: Sequence[Alert], now_ms: int) -> None:
        """Write the alerts, and log those that no other process has written."""

        async def add(tx: Transaction) -> Sequence[Alert]:
            channels = self.delivery.channels
            return [each for each in fresh if await announce(tx, each, now_ms, channels)]

        for alert in await self.database.write(add, urgent=False):
            self.metrics.counter(families.ALERTS).labels(alert.event, "raised").inc()
            self.log.warning("alert", id=alert.id, about=alert.event, account=alert.account)
        self._known_alerts.update(each.id for each in fresh)

    async def _notify(self, claims: Sequence[Claim], now_ms: int) -> None:
        """Write the claims, and send the alerts that no other process has written."""

        async def claim(tx: Transaction) -> Sequence[Claim]:
            await thresholds.delete_old(tx, now_ms - KEPT_MS)
            delivery = self.delivery
            return await announce_passed(
                tx, claims, now_ms, delivery.channels, delivery.console_url
            )

        for claimed in await self.database.write(claim, urgent=False):
            self.metrics.counter(families.WARNINGS).labels(
                str(claimed.passed.percent), "passed"
            ).inc()
            facts = facts_of(claimed.passed)
            del facts["level"]  # the log's own key; `account` says it too
            self.log.warning("budget mark passed", id=claimed.id, webhook=claimed.posted, **facts)
