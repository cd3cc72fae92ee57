"""Warnings before the wall: watches what is spent of each budget, tells each mark once.

About once a second it asks the state by one small statement whether anything was spent or
changed; only then it looks at the accounts whose spending has moved. A mark is told by the
process that gets to write it down: by a line of the journal, a metric, and a webhook where
there is one. All of it is off the path of requests. What was told is in the state, so that
a restart tells nothing twice and misses nothing.

With another limit the marks of a window count anew: whoever raises a budget hears when the
new one is half spent. Going back to an earlier limit repeats nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gateway.edges.journal import Journal
from gateway.edges.meters import Meters
from gateway.edges.webhook import TIMEOUT_SECONDS, Undelivered, Webhook
from gateway.rules.budgets import OverBudget
from gateway.rules.money import usd
from gateway.rules.warnings import Passed, newly_passed, next_wait_ms, sentence
from gateway.rules.windows import day_of
from gateway.state import posting
from gateway.state import warnings as told
from gateway.state.database import Database, StateUnavailable, Transaction
from gateway.state.fields import time_text

LOOK_SECONDS = 1.0
FIRST_WAIT_MS = 1_000
CLOSE_SECONDS = 2.0
MOST_TAKEN = 8
MOST_POSTING = 8
# Those taken together may go to one address, one after the other.
LEASE_MS = int(1000 * TIMEOUT_SECONDS * MOST_TAKEN) + 40_000
KEPT_MS = 100 * 86_400_000


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look found, to compare the next one with."""

    signs: tuple[int, int] = (-1, -1)
    marks: Mapping[str, told.Marks] = field(default_factory=dict)


class Watch:
    """Watches every budget for one process; several may watch the same state."""

    def __init__(
        self,
        *,
        database: Database,
        webhook: Webhook,
        percents: Sequence[int],
        webhook_url: str,
        zone: ZoneInfo,
        meters: Meters,
        journal: Journal,
        now_ms: Callable[[], int],
        on_trouble: Callable[[str, BaseException], None],
        look_seconds: float = LOOK_SECONDS,
        first_wait_ms: int = FIRST_WAIT_MS,
    ) -> None:
        self._database = database
        self._webhook = webhook
        self._percents = tuple(percents)
        self._webhook_url = webhook_url
        self._zone = zone
        self._meters = meters
        self._journal = journal
        self._now_ms = now_ms
        self._on_trouble = on_trouble
        self._look_seconds = look_seconds
        self._first_wait_ms = first_wait_ms
        self._seen = _Seen()
        self._refused: dict[str, int] = {}
        self._posting: set[asyncio.Task[None]] = set()

    def refused(self, over: OverBudget) -> None:
        """An edit was refused because this budget does not cover it. Never waits."""
        if over.kind == "budget":
            self._refused[over.account.id] = over.limit

    async def run(self) -> None:
        """Look for ever; what goes wrong is told, and tried again."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may mend it
                self._on_trouble("warnings", error)
            await asyncio.sleep(self._look_seconds)

    async def close(self) -> None:
        """A last look; what is not posted within a moment is left to another process."""
        try:
            await self.look()
        except StateUnavailable as error:
            self._on_trouble("warnings", error)
        if self._posting:
            await asyncio.wait(self._posting, timeout=CLOSE_SECONDS)
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        await self._webhook.close()

    async def look(self) -> None:
        """Tell what is newly passed, and begin to post what is due. Raises StateUnavailable."""
        refused, now_ms = dict(self._refused), self._now_ms()

        async def find(tx: Transaction) -> tuple[_Seen, int, Sequence[told.Watched]]:
            signs = await told.signs(tx, now_ms)
            seen, moved = self._seen, set(refused)
            if (signs.change, signs.spent_nanos) != seen.signs:
                marks = await told.marks(tx)
                moved |= {name for name, mark in marks.items() if seen.marks.get(name) != mark}
                seen = _Seen((signs.change, signs.spent_nanos), marks)
            day = day_of(now_ms, self._zone)
            return seen, signs.due, await told.watched(tx, moved, day, self._zone) if moved else ()

        seen, due, watched = await self._database.read(find)
        claims = [claim for each in watched for claim in self._claims_of(each, refused)]
        if claims:
            await self._tell(claims, now_ms)
        self._seen = seen
        for account, limit in refused.items():
            if self._refused.get(account) == limit:
                del self._refused[account]
        if due or any(claim.posted for claim in claims):
            await self._begin_posting()

    def _claims_of(
        self, watched: told.Watched, refused: Mapping[str, int]
    ) -> Iterable[told.Claim]:
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
            passed = Passed(
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
            posted = bool(watched.webhook_url or self._webhook_url)
            yield told.Claim(f"wrn_{uuid.uuid4().hex}", passed, posted)

    async def _tell(self, claims: Sequence[told.Claim], now_ms: int) -> None:
        """Write the claims down; tell those that nobody was quicker to write."""

        async def claim(tx: Transaction) -> Sequence[told.Claim]:
            await told.forget(tx, now_ms - KEPT_MS)
            return await told.claim(tx, claims, now_ms)

        for mine in await self._database.write(claim, urgent=False):
            self._count(mine.passed, "passed")
            facts = facts_of(mine.passed)
            self._journal.warn("budget mark passed", id=mine.id, webhook=mine.posted, **facts)

    async def _begin_posting(self) -> None:
        """Take what is due, as far as there is room, and post it beside everything else."""
        if len(self._posting) >= MOST_POSTING:
            return

        async def take(tx: Transaction) -> Sequence[posting.Due]:
            return await posting.take_due(
                tx, now_ms=self._now_ms(), lease_ms=LEASE_MS, limit=MOST_TAKEN
            )

        due = sorted(await self._database.write(take, urgent=False), key=self._url_of)
        for url, group in itertools.groupby(due, key=self._url_of):
            task = asyncio.create_task(self._post_all(url, list(group)))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    def _url_of(self, due: posting.Due) -> str:
        return due.webhook_url or self._webhook_url

    async def _post_all(self, url: str, dues: Sequence[posting.Due]) -> None:
        """Post what goes to one address, one after the other, in the order of the marks."""
        try:
            for due in dues:
                await self._post(url, due)
        except Exception as error:  # noqa: BLE001 - the lease runs out and it is taken again
            self._on_trouble("webhook", error)

    async def _post(self, url: str, due: posting.Due) -> None:
        host = urlsplit(url).hostname  # the rest of a webhook's address is a secret
        try:
            if not url:
                raise Undelivered("no webhook is set any more")
            await self._webhook.post(
                url, message_of(due), delivery=due.id, now_ms=self._now_ms()
            )
        except Undelivered as error:
            wait_ms = next_wait_ms(due.attempt, self._first_wait_ms) if url else None
            again_ms = None if wait_ms is None else self._now_ms() + wait_ms
            self._count(due.passed, "given_up" if again_ms is None else "failed")
            self._journal.warn(
                "webhook failed", id=due.id, host=host, error=str(error), attempt=due.attempt,
                next_try_at=None if again_ms is None else time_text(again_ms),
            )  # fmt: skip
            await self._database.write(lambda tx: posting.postpone(tx, due, again_ms))
            return
        self._count(due.passed, "delivered")
        self._journal.note("webhook delivered", id=due.id, host=host, attempt=due.attempt)
        await self._database.write(lambda tx: posting.delivered(tx, due.id, self._now_ms()))

    def _count(self, passed: Passed, result: str) -> None:
        self._meters.warnings.labels(str(passed.percent), result).inc()


def message_of(due: posting.Due) -> dict[str, object]:
    """A warning as it is posted: `text` for people and chat programs, the rest for machines.

    `id` is the same at every attempt. Money is exact decimal text in dollars, times are
    ISO 8601 in UTC; `team` is absent where the budget is the organisation's.
    """
    resets_ms = due.passed.resets_ms
    return {
        "text": sentence(due.passed, None if resets_ms is None else time_text(resets_ms)),
        "event": "budget.mark_passed",
        "id": due.id,
        "at": time_text(due.at_ms),
        **facts_of(due.passed),
    }


def facts_of(passed: Passed) -> dict[str, object]:
    """What journal and webhook say of a mark."""
    resets_ms, left = passed.resets_ms, passed.limit_nanos - passed.spent_nanos
    facts: dict[str, object] = {
        "level": passed.level,
        "account": passed.account,
        "name": passed.name,
        "team": passed.team or None,
        "percent": passed.percent,
        "limit_usd": usd(passed.limit_nanos),
        "spent_usd": usd(passed.spent_nanos),
        "held_usd": usd(passed.held_nanos),
        "left_usd": usd(max(0, left - passed.held_nanos)),
        "period": passed.period,
        "window": passed.first_day,
        "resets_at": None if resets_ms is None else time_text(resets_ms),
        "refused": passed.refused,
    }
    return {name: value for name, value in facts.items() if value is not None}
