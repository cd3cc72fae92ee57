"""Who gets the reports: finance the organisation's, the owner of a team the team's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accounts.tables.accounts import AccountRecord
from gateway.accounts.tables.organisation import show_organisation
from gateway.accounts.tables.teams import list_teams
from gateway.alerts.rules.channels import Channels
from gateway.database.database import Transaction
from gateway.model.windows import Window

EVERY_TEAM = 10**9


@dataclass(frozen=True, slots=True)
class Recipients:
    """The addresses and, where `has_webhook`, the webhook that a report goes to."""

    account: AccountRecord
    mails: tuple[str, ...]
    has_webhook: bool

    @property
    def anybody(self) -> bool:
        return bool(self.mails) or self.has_webhook


def recipients_of(account: AccountRecord, channels: Channels, finance: Sequence[str]) -> Recipients:
    """The recipients of an account's report; `finance` are those of the organisation's."""
    mail = channels.mail
    if account.level == "organisation":
        permitted = tuple(filter(mail.permits, finance)) if mail else ()
        return Recipients(account, permitted, bool(channels.report_url))
    owner = mail.of_owner(account.settings.owner) if mail else ""
    return Recipients(account, (owner,) if owner else (), bool(account.settings.webhook_url))


async def accounts_of(tx: Transaction, days: Window) -> Sequence[AccountRecord]:
    """The organisation, and every team that was not archived before these days."""
    teams = await list_teams(tx, archived=True, limit=EVERY_TEAM)
    begun_ms = days.starts_ms or 0
    lived = [each for each in teams if each.ended_ms is None or each.ended_ms >= begun_ms]
    return [await show_organisation(tx), *lived]
