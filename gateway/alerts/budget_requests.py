"""Requests for a grant: a key or a team asks, and the approvers are alerted once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from gateway.accounts.tables import grants
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.grants import GrantRecord
from gateway.alerts.announcing import announce
from gateway.alerts.rules.channels import Channels
from gateway.alerts.rules.thresholds import plain
from gateway.alerts.tables.outbox import Alert
from gateway.database.database import Transaction
from gateway.model.caller import Caller
from gateway.model.money import usd

EVENT = "budget.asked"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a team, by a key of it or without one."""

    team: str
    owner: str
    key_id: str = ""
    key_name: str = ""


def asker_of(caller: Caller) -> Asker:
    return Asker(caller.team, caller.owner, caller.key_id, caller.key_name)


async def ask(
    tx: Transaction,
    asker: Asker,
    budget: str,
    nanos: int,
    until_day: str | None,
    by: Author,
    *,
    zone: tzinfo,
    channels: Channels,
    console_url: str,
) -> GrantRecord:
    """Ask for a grant to a budget, and alert the organisation.

    Raises AccountError.
    """
    asked = await grants.ask(tx, budget, nanos, until_day, by, zone, asker.key_id)
    alert = Alert(asked.id, EVENT, _facts(asked, asker, console_url))
    await announce(tx, alert, by.now_ms, channels)
    return asked


def _facts(asked: GrantRecord, asker: Asker, console_url: str) -> dict[str, object]:
    until = f" until {asked.until_day}" if asked.until_day else ""
    link = f"{console_url}/budgets?request={asked.id}" if console_url else ""
    text = (
        f"The team {plain(asker.team)} asks for ${usd(asked.nanos)} more on the budget "
        f"{plain(asked.budget)}{until}: {plain(asked.reason)}. "
        f"Grant it with `gateway budgets grant --request {asked.id}`"
    )
    facts = {
        "text": f"{text} or at {link}" if link else f"{text}.",
        "request": asked.id,
        "budget": asked.budget,
        "team": asker.team,
        "key": asker.key_name or None,
        "owner": asker.owner or None,
        "usd": usd(asked.nanos),
        "until": asked.until_day,
        "reason": asked.reason,
        "url": link or None,
    }
    return {name: value for name, value in facts.items() if value is not None}
