"""Requests for a grant: a key's holder asks, and the approvers are alerted once."""

from __future__ import annotations

from datetime import tzinfo

from gateway.accounts.tables import grants
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.grants import GrantRecord
from gateway.alerts.rules.thresholds import plain
from gateway.alerts.tables import outbox
from gateway.alerts.tables.outbox import Alert
from gateway.database.database import Transaction
from gateway.model.caller import Caller, Level
from gateway.model.money import usd

EVENT = "budget.asked"


async def ask(
    tx: Transaction,
    caller: Caller,
    level: Level,
    nanos: int,
    until_day: str | None,
    by: Author,
    *,
    zone: tzinfo,
    webhook_url: str,
    console_url: str,
) -> GrantRecord:
    """Ask for a grant to a budget of the caller, and alert the organisation's webhook.

    `webhook_url` is the default for an organisation without one. Raises AccountError.
    """
    budget = caller.budget_name(level)
    asked = await grants.ask(tx, budget, nanos, until_day, by, zone, caller.key_id)
    alert = Alert(asked.id, EVENT, _facts(asked, caller, console_url))
    await outbox.add(tx, alert, by.now_ms, default_url=webhook_url)
    return asked


def _facts(asked: GrantRecord, caller: Caller, console_url: str) -> dict[str, object]:
    until = f" until {asked.until_day}" if asked.until_day else ""
    link = f"{console_url}/budgets?request={asked.id}" if console_url else ""
    text = (
        f"The team {plain(caller.team)} asks for ${usd(asked.nanos)} more on the budget "
        f"{plain(asked.budget)}{until}: {plain(asked.reason)}. "
        f"Grant it with `gateway budgets grant --request {asked.id}`"
    )
    facts = {
        "text": f"{text} or at {link}" if link else f"{text}.",
        "request": asked.id,
        "budget": asked.budget,
        "team": caller.team,
        "key": caller.key_name,
        "owner": caller.owner or None,
        "usd": usd(asked.nanos),
        "until": asked.until_day,
        "reason": asked.reason,
        "url": link or None,
    }
    return {name: value for name, value in facts.items() if value is not None}
