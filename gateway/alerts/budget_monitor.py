"""Watches what is spent of each budget and tells each mark once.

About once a second it asks the state, by one small statement, whether anything was spent or
changed; only then it looks at the accounts whose spending has moved. A mark is told by the
process that gets to write it down: by a line of the journal, a metric, and a webhook where
there is one. What was told is in the state, so that a restart repeats and misses nothing.

With another limit the marks of a window count anew: whoever raises a budget hears when half
of the new one is spent. Going back to an earlier limit repeats nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.alerts.message import facts_of
from gateway.alerts.rules.thresholds import PassedThreshold, newly_passed
from gateway.alerts.tables import thresholds as state
from gateway.alerts.tables.thresholds import Claim, Signs, Watched
from gateway.alerts.webhook_delivery import WebhookDelivery
from gateway.database.database import Database, Transaction
from gateway.ledger.rules.budget import OverBudget
from gateway.model.windows import day_of
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics

LOOK_SECONDS = 1.0
KEPT_MS = 100 * 86_400_000
"""How long it is kept what was told: longer than any window that ends."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look has found, for the next one to compare with."""

    change: int = -1
    spent_nanos: int = -1
    marks: Mapping[str, state.GenerationCounters] = field(default_factory=dict)

    def shows(self, signs: Signs) -> bool:
        """Is this what the state still says?"""
        return (self.change, self.spent_nanos) == (signs.change, signs.spent_nanos)


@dataclass(frozen=True, slots=True)
class _Found:
    """A look's outcome: those whose spending has moved, and how many posts are due."""

    seen: _Seen
    due: int
    moved: Sequence[Watched]


class BudgetMonitor:
    """Watches every budget for one process; several may watch the same state.

    `percents` are the usual marks, for those who have none of their own.
    """

    def __init__(
        self,
        *,
        database: Database,
        delivery: WebhookDelivery,
        percents: Sequence[int],
        zone: ZoneInfo,
        metrics: Metrics,
        log: EventLog,
        now_ms: Callable[[], int],
        on_failure: Callable[[str, BaseException], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._database = database
        self._delivery = delivery
        self._percents = tuple(percents)
        self._zone = zone
        self._metrics = metrics
        self._log = log
        self._now_ms = now_ms
        self._on_failure = on_failure
        self._look_seconds = look_seconds
        self._seen = _Seen()
        self._refused: dict[str, int] = {}

    def refused(self, over: OverBudget) -> None:
        """An edit was refused, because this budget does not cover it. Never waits."""
        if over.kind == "budget":
            self._refused[over.account.id] = over.limit

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._try_to_look()
            await asyncio.sleep(self._look_seconds)

    async def close(self) -> None:
        """Look for a last time."""
        await self._try_to_look()
        await self._delivery.close()

    async def _try_to_look(self) -> None:
        try:
            await self.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may mend it
            self._on_failure("warnings", error)

    async def look(self) -> None:
        """Tell what is newly passed, and begin to post what is due. Raises StateUnavailable."""
        refused, now_ms = dict(self._refused), self._now_ms()

        async def find(tx: Transaction) -> _Found:
            return await self._find(tx, refused, now_ms)

        found = await self._database.read(find)
        claims = [claim for each in found.moved for claim in self._claims(each, refused)]
        if claims:
            await self._tell(claims, now_ms)
        self._seen = found.seen
        for account, limit in refused.items():
            if self._refused.get(account) == limit:
                del self._refused[account]
        if found.due or any(claim.posted for claim in claims):
            await self._delivery.send_due()

    async def _find(self, tx: Transaction, refused: Mapping[str, int], now_ms: int) -> _Found:
        signs = await state.signs(tx, now_ms)
        seen, moved = self._seen, set(refused)
        if not seen.shows(signs):
            marks = await state.marks(tx)
            moved |= {name for name, mark in marks.items() if seen.marks.get(name) != mark}
            seen = _Seen(signs.change, signs.spent_nanos, marks)
        day = day_of(now_ms, self._zone)
        watched = await state.watched(tx, moved, day, self._zone) if moved else ()
        return _Found(seen, signs.due, watched)

    def _claims(self, watched: Watched, refused: Mapping[str, int]) -> Iterable[Claim]:
        """A claim to every mark that this account has newly passed."""
        balance, account = watched.balance, watched.balance.account
        was_refused = refused.get(account.id) == watched.limit_nanos
        percents = newly_passed(
            spent_nanos=balance.spent_nanos,
            limit_nanos=watched.limit_nanos,
            percents=self._percents if watched.percents is None else watched.percents,
            told=watched.told,
            refused=was_refused,
        )
        for percent in percents:
            passed = PassedThreshold(
                account=account.id,
                level=account.level,
                name=account.name,
                team=watched.team,
                percent=percent,
                limit_nanos=watched.limit_nanos,
                spent_nanos=balance.spent_nanos,
                held_nanos=balance.held_nanos,
                period=balance.period,
                first_day=watched.first_day,
                resets_ms=balance.resets_ms,
                refused=was_refused,
            )
            posted = bool(watched.webhook_url or self._delivery.webhook_url)
            yield Claim(f"wrn_{uuid.uuid4().hex}", passed, posted)

    async def _tell(self, claims: Sequence[Claim], now_ms: int) -> None:
        """Write the claims down, and tell those that nobody was quicker to write."""

        async def claim(tx: Transaction) -> Sequence[Claim]:
            await state.forget(tx, now_ms - KEPT_MS)
            return await state.claim(tx, claims, now_ms)

        for mine in await self._database.write(claim, urgent=False):
            self._metrics.warnings.labels(str(mine.passed.percent), "passed").inc()
            facts = facts_of(mine.passed)
            del facts["level"]  # the journal's own word; the account says it as well
            self._log.warn("budget mark passed", id=mine.id, webhook=mine.posted, **facts)
