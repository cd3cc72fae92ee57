"""The channels that alerts go by: webhooks, and mail where there is a server for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.alerts.rules.mail_addresses import MailAddresses

REPORT = "report."
"""Events of reports begin so: they go to other webhooks than alerts."""


@dataclass(frozen=True, slots=True)
class Channels:
    """`webhook_url` is for accounts without one of their own, or ""; `mail` None sends no mail.

    `report_url` is the webhook of the organisation's reports.
    """

    webhook_url: str = field(default="", repr=False)
    report_url: str = field(default="", repr=False)
    mail: MailAddresses | None = None
