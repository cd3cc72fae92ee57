"""Writes the reports that are due to the outbox, once over all processes.

A process leases the schedule, reads a report at a time, writes its mails and posts, and renews its
lease with each. A week or month that ended while no process ran is made up for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

from gateway.accounts.tables.accounts import AccountRecord
from gateway.alerts.delivery import Delivery
from gateway.alerts.rules.channels import REPORT
from gateway.alerts.rules.mail_content import Mail
from gateway.alerts.tables import mail_outbox, outbox
from gateway.alerts.tables.mail_outbox import mail_id
from gateway.alerts.tables.outbox import Alert
from gateway.database.database import Database, Transaction
from gateway.model.windows import Window
from gateway.reports.presentation import report_mail, report_message
from gateway.reports.recipients import Recipients, accounts_of, recipients_of
from gateway.reports.report import Report, ReportAsked, read_report
from gateway.reports.rules.schedule import Schedule, before, latest_ended, missed
from gateway.reports.tables import schedules
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

LEASE_MS = 15 * 60_000


@dataclass(kw_only=True, slots=True)
class ReportScheduler:
    """Any number of processes may run one. `finance` are the addresses of the organisation's."""

    database: Database
    delivery: Delivery
    schedule: Schedule
    finance: Sequence[str]
    zone: ZoneInfo
    metrics: Metrics
    log: EventLog
    now_ms: Callable[[], int]

    async def check(self) -> None:
        """Write the reports that are due. Raises StateUnavailable."""
        now_ms, schedule = self.now_ms(), self.schedule
        through = await self.database.read(lambda tx: schedules.through_day(tx, schedule))
        if through is None:
            ended = latest_ended(schedule, now_ms, self.zone).last_day
            await self.database.write(lambda tx: schedules.begin(tx, schedule, ended), urgent=False)
            return
        for days in missed(schedule, through, now_ms, self.zone):
            if not await self._lease(through):
                return
            written = await self._write_all(days, through)
            through = days.last_day
            await self._advance(through)
            self.log.info("reports written", schedule=schedule, through=through, reports=written)
            await self.delivery.send_due()

    async def _lease(self, through: str) -> bool:
        now_ms = self.now_ms()
        return await self.database.write(
            lambda tx: schedules.lease(
                tx, self.schedule, through, now_ms=now_ms, until_ms=now_ms + LEASE_MS
            ),
            urgent=False,
        )

    async def _advance(self, last_day: str) -> None:
        await self.database.write(
            lambda tx: schedules.advance(tx, self.schedule, last_day), urgent=False
        )

    async def _write_all(self, days: Window, leased_after: str) -> int:
        """Write the reports of these days; how many there were."""
        accounts = await self.database.read(lambda tx: accounts_of(tx, days))
        written = 0
        for account in accounts:
            to = recipients_of(account, self.delivery.channels, self.finance)
            if to.anybody:
                written += await self._write(to, days, leased_after)
        return written

    async def _write(self, to: Recipients, days: Window, leased_after: str) -> bool:
        """Write a report to the outbox. False for a team that used nothing."""
        report = await self._read(to.account, days)
        if report.is_empty and report.asked.team:
            return False
        now_ms, event = self.now_ms(), f"{REPORT}{self.schedule}"
        occasion = f"{event}:{days.first_day}:{to.account.id}"
        console_url = self.delivery.console_url
        content = await asyncio.to_thread(report_mail, report, console_url)
        mails = [
            Mail(mail_id(occasion, address), event, address, content, now_ms)
            for address in to.mails
        ]
        facts = report_message(report, console_url)
        post = Alert(f"rep_{uuid5(NAMESPACE_OID, occasion).hex}", event, facts, to.account.id)

        async def add(tx: Transaction) -> None:
            until_ms = self.now_ms() + LEASE_MS
            await schedules.renew(tx, self.schedule, leased_after, until_ms=until_ms)
            await mail_outbox.add(tx, mails)
            if to.has_webhook:
                await outbox.add_report(tx, post, now_ms)

        await self.database.write(add, urgent=False)
        self.metrics.counter(families.ALERTS).labels(event, "raised").inc()
        return True

    async def _read(self, account: AccountRecord, days: Window) -> Report:
        earlier = before(self.schedule, days, self.zone)
        asked = ReportAsked(account, days, earlier, str(self.zone))
        return await self.database.read(lambda tx: read_report(tx, asked))
