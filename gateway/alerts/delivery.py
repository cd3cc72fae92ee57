"""Delivery of alerts and reports, by webhook and by mail, in tasks of their own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.alerts.mail_client import TIMEOUT_SECONDS as MAIL_SECONDS
from gateway.alerts.mail_client import MailClient
from gateway.alerts.message import message_of
from gateway.alerts.rules.channels import Channels
from gateway.alerts.rules.thresholds import MOST_ATTEMPTS, next_wait_ms
from gateway.alerts.tables import mail_outbox, outbox
from gateway.alerts.tables.mail_outbox import DueMail
from gateway.alerts.tables.outbox import Alert, Due
from gateway.alerts.undelivered import Undelivered
from gateway.alerts.webhook_client import TIMEOUT_SECONDS, WebhookClient
from gateway.database.database import Database, Transaction
from gateway.model.caller import ORGANISATION
from gateway.model.units import time_text
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

FIRST_WAIT_MS = 1_000
CLOSE_SECONDS = 2.0
MAX_POSTING = 8
MAX_TAKEN = 8
MOST_MAIL_ATTEMPTS = 50
"""Nearly two days: a mail server may be down for a night."""
LEASE_MS = int(1000 * TIMEOUT_SECONDS * MAX_TAKEN) + 40_000
"""Longer than posting everything taken at once can last, even if all goes to one address."""
MAIL_LEASE_MS = int(1000 * MAIL_SECONDS * MAX_TAKEN) + 40_000


@dataclass(kw_only=True, slots=True)
class Delivery:
    """Takes what is due from the outbox, and delivers or postpones it.

    `mail` is None where no mail server is set.
    """

    database: Database
    webhook: WebhookClient
    mail: MailClient | None = None
    channels: Channels
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]
    on_failure: Callable[[str, BaseException], None]
    first_wait_ms: int = FIRST_WAIT_MS
    console_url: str = ""
    _posting: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _mailing: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    async def send_due(self) -> None:
        """Take what is due, up to the maximum in progress, and start to deliver it.

        Raises StateUnavailable.
        """
        await self._post_due()
        await self._mail_due()

    async def close(self) -> None:
        """Wait a moment for deliveries in progress; another process takes the rest later."""
        running = self._posting | self._mailing
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.webhook.close()

    # --- webhooks -------------------------------------------------------------------------

    async def _post_due(self) -> None:
        """Alerts to one address are posted one after the other, so that they arrive in order."""
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

    def _url_of(self, due: Due) -> str:
        content = due.content
        if not (isinstance(content, Alert) and content.is_report):
            return due.webhook_url or self.channels.webhook_url
        if content.account == ORGANISATION:
            return self.channels.report_url
        return due.webhook_url

    async def _post_all(self, url: str, dues: Sequence[Due]) -> None:
        try:
            for due in dues:
                await self._post(url, due)
        except Exception as error:  # noqa: BLE001 - the lease expires, and the alert is due again
            self.on_failure("webhook", error)

    async def _post(self, url: str, due: Due) -> None:
        try:
            if not url:
                raise Undelivered("no webhook is set any more", is_final=True)
            message = message_of(due, self.console_url)
            await self.webhook.post(url, message, delivery=due.id, now_ms=self.now_ms())
        except Undelivered as error:
            again_ms = self._next_try_ms(due.attempt, error, MOST_ATTEMPTS)
            self._count(due, "given_up" if again_ms is None else "failed")
            self._log_failure("webhook failed", due.id, _host(url), error, due.attempt, again_ms)
            await self.database.write(lambda tx: outbox.postpone(tx, due, again_ms))
            return
        self._count(due, "delivered")
        self.log.info("webhook delivered", id=due.id, host=_host(url), attempt=due.attempt)
        now_ms = self.now_ms()
        await self.database.write(lambda tx: outbox.delivered(tx, due, now_ms))

    def _count(self, due: Due, result: str) -> None:
        if isinstance(due.content, Alert):
            self.metrics.counter(families.ALERTS).labels(due.content.event, result).inc()
        else:
            percent = str(due.content.percent)
            self.metrics.counter(families.WARNINGS).labels(percent, result).inc()

    # --- mail -----------------------------------------------------------------------------

    async def _mail_due(self) -> None:
        """Mails are sent one after the other, by one task: they all go to one server."""
        if self._mailing:
            return
        now_ms = self.now_ms()

        async def take(tx: Transaction) -> Sequence[DueMail]:
            return await mail_outbox.take_due(
                tx, now_ms=now_ms, lease_ms=MAIL_LEASE_MS, limit=MAX_TAKEN
            )

        if taken := await self.database.write(take, urgent=False):
            task = asyncio.create_task(self._mail_all(taken))
            self._mailing.add(task)
            task.add_done_callback(self._mailing.discard)

    async def _mail_all(self, dues: Sequence[DueMail]) -> None:
        try:
            for due in dues:
                await self._mail(due)
        except Exception as error:  # noqa: BLE001 - the lease expires, and the mail is due again
            self.on_failure("mail", error)

    async def _mail(self, due: DueMail) -> None:
        counted = self.metrics.counter(families.MAILS)
        mail = due.mail
        try:
            await self._hand_over(due)
        except Undelivered as error:
            again_ms = self._next_try_ms(due.attempt, error, MOST_MAIL_ATTEMPTS)
            counted.labels(mail.event, "given_up" if again_ms is None else "failed").inc()
            host = self.mail.server.host if self.mail else None
            self._log_failure("mail failed", mail.id, host, error, due.attempt, again_ms)
            await self.database.write(lambda tx: mail_outbox.postpone(tx, due, again_ms))
            return
        counted.labels(mail.event, "delivered").inc()
        self.log.info("mail delivered", id=mail.id, to=mail.recipient, attempt=due.attempt)
        now_ms = self.now_ms()
        await self.database.write(lambda tx: mail_outbox.delivered(tx, due, now_ms))

    async def _hand_over(self, due: DueMail) -> None:
        """Send a mail, unless the settings have changed since it was written."""
        addresses = self.channels.mail
        if self.mail is None or addresses is None:
            raise Undelivered("no mail server is set any more", is_final=True)
        if not addresses.permits(due.mail.recipient):
            raise Undelivered("its domain is not in [reports] domains", is_final=True)
        await self.mail.send(due.mail)

    # --- both -----------------------------------------------------------------------------

    def _next_try_ms(self, attempt: int, error: Undelivered, most_attempts: int) -> int | None:
        wait_ms = next_wait_ms(attempt, self.first_wait_ms, most_attempts)
        return None if error.is_final or wait_ms is None else self.now_ms() + wait_ms

    def _log_failure(
        self,
        event: str,
        id_: str,
        host: str | None,
        error: Undelivered,
        attempt: int,
        again_ms: int | None,
    ) -> None:
        next_try_at = None if again_ms is None else time_text(again_ms)
        facts = {"id": id_, "host": host, "error": str(error), "attempt": attempt}
        self.log.warning(event, **facts, next_try_at=next_try_at)


def _host(url: str) -> str | None:
    """The only part of a webhook's address that may be logged: the rest is a secret."""
    return urlsplit(url).hostname
