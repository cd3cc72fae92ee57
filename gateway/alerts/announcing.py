"""Writes alerts to the outbox: for webhooks, and for the mail of each recipient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.alerts.message import message_of
from gateway.alerts.rules.channels import Channels
from gateway.alerts.rules.mail_content import Mail, alert_mail
from gateway.alerts.tables import mail_outbox, outbox, thresholds
from gateway.alerts.tables.outbox import Alert, Due
from gateway.alerts.tables.thresholds import Claim
from gateway.database.database import Transaction


async def announce(tx: Transaction, alert: Alert, now_ms: int, channels: Channels) -> bool:
    """Add an alert. False, and nothing added, if there is one of this id."""
    if not await outbox.add(tx, alert, now_ms, default_url=channels.webhook_url):
        return False
    message = message_of(Due(alert.id, alert, now_ms, 0, ""))
    await _add_mails(tx, message, alert.account, now_ms, channels)
    return True


async def announce_passed(
    tx: Transaction, claims: Sequence[Claim], now_ms: int, channels: Channels, console_url: str
) -> Sequence[Claim]:
    """Add thresholds; returns those that were not there yet."""
    claimed = await thresholds.claim(tx, claims, now_ms)
    for each in claimed:
        if each.highest:
            message = message_of(Due(each.id, each.passed, now_ms, 0, ""), console_url)
            await _add_mails(tx, message, each.passed.account, now_ms, channels)
    return claimed


async def _add_mails(
    tx: Transaction, message: Mapping[str, object], account: str, now_ms: int, channels: Channels
) -> None:
    if channels.mail is None:
        return
    recipients = channels.mail.of_alert(await mail_outbox.owner_of(tx, account))
    content, event = alert_mail(message), str(message["event"])
    id_ = str(message["id"])
    await mail_outbox.add(
        tx,
        [Mail(mail_outbox.mail_id(id_, to), event, to, content, now_ms) for to in recipients],
    )
