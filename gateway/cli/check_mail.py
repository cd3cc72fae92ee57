"""What `gateway check` finds of mail: the connection, and teams whose owner is not mailed."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.accounts.tables.accounts import AccountRecord
from gateway.runtime.backends import open_mail
from gateway.settings import Settings

_SHOWN_TEAMS = 5
Found = tuple[str, str]
"""A text, and what to do about it; "" where there is nothing to do."""


async def connection(settings: Settings) -> Found | None:
    """Connect and authenticate; send nothing. None where no mail is set. Raises Undelivered."""
    reports = settings.reports
    client = open_mail(settings)
    if client is None:
        if reports.to or settings.warnings.to:
            return (
                "nobody is mailed: no mail server is set",
                "set [reports] smtp_url, or unset `to`",
            )
        if reports.schedule and not reports.webhook_url.get_secret_value():
            text = "the organisation's report goes to nobody"
            return text, "set [reports] smtp_url and `to`, or webhook_url"
        return None
    await client.check()
    to = f"{', '.join(reports.to)} and owners" if reports.to else "owners"
    domains = ", ".join(sorted(reports.permitted_domains))
    return f"{client.server.name} answers; mail goes to {to} in {domains}", ""


def unmailed_owners(settings: Settings, teams: Sequence[AccountRecord]) -> Found | None:
    """Teams whose report and alerts don't reach their owner by mail."""
    mail = settings.channels.mail
    if mail is None:
        return None
    names = [each.name for each in teams if not mail.of_owner(each.settings.owner)]
    if not names:
        return None
    shown = ", ".join(names[:_SHOWN_TEAMS])
    more = f" and {len(names) - _SHOWN_TEAMS} more" if len(names) > _SHOWN_TEAMS else ""
    remedy = f"gateway teams update NAME --owner name@{min(mail.domains)}"
    return f"teams without an owner who may be mailed: {shown}{more}", remedy
