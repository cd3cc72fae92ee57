"""Delivery of alerts to webhooks, in tasks of their own and with a bounded time for each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.alerts.message import message_of
from gateway.alerts.rules.thresholds import next_wait_ms
from gateway.alerts.tables import outbox
from gateway.alerts.tables.outbox import Alert, Due
from gateway.alerts.webhook_client import TIMEOUT_SECONDS, Undelivered, WebhookClient
from gateway.database.database import Database, Transaction
from gateway.model.units import time_text
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

FIRST_WAIT_MS = 1_000
CLOSE_SECONDS = 2.0
MAX_POSTING = 8
MAX_TAKEN = 8
LEASE_MS = int(1000 * TIMEOUT_SECONDS * MAX_TAKEN) + 40_000
"""Longer than posting everything taken at once can last, even if all goes to one address."""


@dataclass(kw_only=True, slots=True)
class WebhookDelivery:
    """Takes alerts that are due from the outbox, and posts or postpones them.

    `webhook_url` is the default for accounts without a webhook of their own, or "".
    """

    database: Database
    webhook: WebhookClient
    webhook_url: str
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    first_wait_ms: int = FIRST_WAIT_MS
    console_url: str = ""
    _posting: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    async def send_due(self) -> None:
        """Take alerts that are due, up to the maximum in progress, and start to post them.

        Alerts to one address are posted one after the other, so that they arrive in order.
        Raises StateUnavailable.
        """
        if len(self._posting) >= MAX_POSTING:
            return
        now_ms = self.now_ms()

        async def take(tx: Transaction) -> Sequence[Due]:
            return await outbox.take_due(tx, now_ms=now_ms, lease_ms=LEASE_MS, limit=MAX_TAKEN)

        taken = sorted(await self.database.write(take, urgent=False), key=self._url_of)
        for url, dues in itertools.groupby(taken, key=self._url_of):
            task = asyncio.create_task(self._post_all(url, list(dues)))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    async def close(self) -> None:
        """Wait a moment for posts in progress; another process takes the rest later."""
        if self._posting:
            await asyncio.wait(self._posting, timeout=CLOSE_SECONDS)
        left = list(self._posting)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.webhook.close()

    def _url_of(self, due: Due) -> str:
        return due.webhook_url or self.webhook_url

    async def _post_all(self, url: str, dues: Sequence[Due]) -> None:
        try:
            for due in dues:
                await self._post(url, due)
        except Exception as error:  # noqa: BLE001 - the lease expires, and the alert is due again
            self.on_failure("webhook", error)

    async def _post(self, url: str, due: Due) -> None:
        try:
            if not url:
                raise Undelivered("no webhook is set any more")
            message = message_of(due, self.console_url)
            await self.webhook.post(url, message, delivery=due.id, now_ms=self.now_ms())
        except Undelivered as error:
            await self._postpone(url, due, error)
            return
        self._count(due, "delivered")
        self.log.info("webhook delivered", id=due.id, host=_host(url), attempt=due.attempt)
        now_ms = self.now_ms()
        await self.database.write(lambda tx: outbox.delivered(tx, due, now_ms))

    async def _postpone(self, url: str, due: Due, error: Undelivered) -> None:
        """Try again later, unless this was the last attempt."""
        wait_ms = next_wait_ms(due.attempt, self.first_wait_ms) if url else None
        again_ms = None if wait_ms is None else self.now_ms() + wait_ms
        self._count(due, "given_up" if again_ms is None else "failed")
        self.log.warning(
            "webhook failed",
            id=due.id,
            host=_host(url),
            error=str(error),
            attempt=due.attempt,
            next_try_at=None if again_ms is None else time_text(again_ms),
        )
        await self.database.write(lambda tx: outbox.postpone(tx, due, again_ms))

    def _count(self, due: Due, result: str) -> None:
        if isinstance(due.content, Alert):
            self.metrics.counter(families.ALERTS).labels(due.content.event, result).inc()
        else:
            percent = str(due.content.percent)
            self.metrics.counter(families.WARNINGS).labels(percent, result).inc()


def _host(url: str) -> str | None:
    """The only part of a webhook's address that may be logged: the rest is a secret."""
    return urlsplit(url).hostname
