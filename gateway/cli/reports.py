"""`gateway reports`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

import click

from gateway.accounts.tables.organisation import show_organisation
from gateway.accounts.tables.teams import show_team
from gateway.alerts.rules.channels import REPORT
from gateway.alerts.rules.mail_addresses import address_in
from gateway.alerts.rules.mail_content import Mail
from gateway.alerts.undelivered import Undelivered
from gateway.cli import completion
from gateway.cli.options import settings_option, stacked, yes_option
from gateway.cli.output import confirm
from gateway.cli.state_access import clock_of, read_state
from gateway.database.database import Transaction
from gateway.database.ids import new_id
from gateway.model.units import time_text
from gateway.model.windows import Window, month_days, window
from gateway.reports.presentation import report_mail, report_message
from gateway.reports.recipients import Recipients, recipients_of
from gateway.reports.report import Report, ReportAsked, read_report
from gateway.reports.rules.schedule import Schedule, before, latest_ended
from gateway.runtime.backends import open_mail, open_webhooks
from gateway.settings import Settings

_chosen = stacked(
    click.option(
        "--period", default=None, metavar="MONTH|WEEK",
        help="Month such as 2026-11 or week such as 2026-W48 (default: the last one that ended, by "
        "[reports] schedule).",
    ),
    click.option(
        "--team", default=None, shell_complete=completion.TEAMS,
        help="The report of this team (default: the organisation's).",
    ),
    settings_option,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ready:
    """A report, and whom the schedule would send it to."""

    report: Report
    to: Recipients
    schedule: Schedule
    now_ms: int

    @property
    def said(self) -> str:
        """The recipients, in a line."""
        found = [*self.to.mails, *(["the webhook"] if self.to.has_webhook else [])]
        if found:
            return ", ".join(found)
        if self.report.asked.team:
            owner = self.to.account.settings.owner
            reason = (
                f"its owner {owner!r} is no address that may be mailed" if owner else "no owner"
            )
            return f"nobody ({reason}, and the team has no webhook)"
        return "nobody ([reports] to with smtp_url, and webhook_url, are not set)"


@click.group()
def reports() -> None:
    """Usage reports, as they are mailed and posted by schedule."""


@reports.command("preview")
@_chosen
@click.option("--html", is_flag=True, help="Print the mail's HTML instead of its text.")
def preview(settings: Settings, period: str | None, team: str | None, html: bool) -> None:
    """Print a report as it would be mailed. Sends nothing."""
    ready = _ready(settings, period, team)
    content = report_mail(ready.report, settings.server.console_url)
    files = ", ".join(each.name for each in content.attachments)
    for line in (f"To: {ready.said}", f"Subject: {content.subject}", f"Attached: {files}"):
        click.echo(line, err=html)
    click.echo(content.html if html else f"\n{content.text}", nl=False)


@reports.command("send")
@_chosen
@click.option("--to", "address", default=None, help="Mail it to this address alone.")
@yes_option
def send(
    settings: Settings, period: str | None, team: str | None, address: str | None, yes: bool
) -> None:
    """Send a report now. The schedule sends it all the same."""
    alone = None if address is None else _permitted(settings, address)
    ready = _ready(settings, period, team)
    if alone:
        ready = replace(ready, to=Recipients(ready.to.account, (alone,), has_webhook=False))
    if not ready.to.anybody:
        raise click.ClickException(f"the report goes to {ready.said}")
    confirm(f"Send it to {ready.said}?", yes=yes)
    try:
        asyncio.run(_send(settings, ready))
    except Undelivered as error:
        raise click.ClickException(f"not sent: {error}") from None


def _ready(settings: Settings, period: str | None, team: str | None) -> _Ready:
    now_ms, zone = clock_of(settings), settings.zone
    schedule: Schedule = settings.reports.schedule or "monthly"
    if period is None:
        days = latest_ended(schedule, now_ms, zone)
    else:
        schedule, days = _period(period, zone)

    async def read(tx: Transaction) -> _Ready:
        account = await (show_team(tx, team) if team else show_organisation(tx))
        to = recipients_of(account, settings.channels, settings.reports.to)
        asked = ReportAsked(account, days, before(schedule, days, zone), str(zone))
        return _Ready(await read_report(tx, asked), to, schedule, now_ms)

    return read_state(settings, read)


def _period(text: str, zone: tzinfo) -> tuple[Schedule, Window]:
    try:
        if "W" in text:
            monday = datetime.strptime(f"{text}-1", "%G-W%V-%u").date().isoformat()
            return "weekly", window("week", monday, zone)
        return "monthly", window("month", month_days(text)[0], zone)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a month such as 2026-11 or a week such as 2026-W48",
            param_hint="--period",
        ) from None


def _permitted(settings: Settings, address: str) -> str:
    mail = settings.channels.mail
    if mail is None:
        raise click.UsageError("--to needs a mail server: set [reports] smtp_url")
    if address_in(address) != address or not mail.permits(address):
        domains = ", ".join(sorted(mail.domains))
        raise click.BadParameter(
            f"{address!r} is no address in {domains}: see [reports] domains", param_hint="--to"
        )
    return address


async def _send(settings: Settings, ready: _Ready) -> None:
    """Send it by mail and webhook. Raises Undelivered."""
    console_url, event = settings.server.console_url, f"{REPORT}{ready.schedule}"
    if ready.to.mails and (client := open_mail(settings)):
        content = report_mail(ready.report, console_url)
        for address in ready.to.mails:
            await client.send(Mail(new_id("mail_"), event, address, content, ready.now_ms))
            click.echo(f"{client.server.name} has accepted the mail to {address}.")
    if ready.to.has_webhook:
        own_url = ready.to.account.settings.webhook_url
        url = own_url if ready.report.asked.team else settings.channels.report_url
        message = report_message(ready.report, console_url)
        message = {"event": event, "id": new_id("rep_"), "at": time_text(ready.now_ms), **message}
        webhooks = open_webhooks(settings)
        try:
            await webhooks.post(url, message, delivery=str(message["id"]), now_ms=ready.now_ms)
        finally:
            await webhooks.close()
        click.echo("The webhook has accepted the report.")
