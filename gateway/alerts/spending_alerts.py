"""Alerts by cause: a forecast over the budget, unusual spending, a model stopped for its price.

Each occasion has an id that follows from it, so that it is reported once, by whichever process
sees it first.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from gateway.alerts.rules.spending import (
    DAYS_COMPARED,
    TIMES_THE_HIGHEST,
    forecast_over_budget,
    unusual_highest,
)
from gateway.alerts.rules.thresholds import plain, spender
from gateway.alerts.tables import spending
from gateway.alerts.tables.outbox import Alert
from gateway.alerts.tables.spending import StoppedModel
from gateway.alerts.tables.thresholds import MonitoredBudget
from gateway.database.database import Transaction
from gateway.model.money import usd
from gateway.model.units import time_text


async def find(
    tx: Transaction, budgets: Sequence[MonitoredBudget], today: str, now_ms: int, console_url: str
) -> list[Alert]:
    """The alerts that these budgets, and prices, give reason for; they may have been sent."""
    watched = [each for each in budgets if each.balance.account.level != "key"]
    days = await spending.spent_by_day(tx, [each.balance.account.id for each in watched], today)
    link = {"url": f"{console_url}/budgets"} if console_url else {}
    found = [
        alert
        for budget in watched
        for alert in (
            *_forecasts(budget, now_ms, link),
            *_unusual(budget, dict(days.get(budget.balance.account.id, {})), today, link),
        )
    ]
    return found + [_stopped(each) for each in await spending.stopped_models(tx)]


def _forecasts(budget: MonitoredBudget, now_ms: int, link: dict[str, str]) -> Iterator[Alert]:
    balance = budget.balance
    forecast = forecast_over_budget(balance, now_ms)
    if forecast is None:
        return
    resets_at = time_text(balance.resets_ms or 0)
    text = (
        f"{_who(budget)} has spent ${usd(balance.spent_nanos)} of ${usd(budget.limit_nanos)}. At "
        f"this rate it will be ${usd(forecast)} when the budget resets at {resets_at}."
    )
    facts = {
        "limit_usd": usd(budget.limit_nanos),
        "spent_usd": usd(balance.spent_nanos),
        "forecast_usd": usd(forecast),
        "resets_at": resets_at,
    }
    where = f"{balance.period}:{budget.first_day}:{budget.limit_nanos}"
    yield _alert("budget.forecast", budget, where, text, facts | link)


def _unusual(
    budget: MonitoredBudget, days: dict[str, int], today: str, link: dict[str, str]
) -> Iterator[Alert]:
    spent = days.pop(today, 0)
    highest = unusual_highest(spent, [*days.values()])
    if highest is None:
        return
    text = (
        f"{_who(budget)} has spent ${usd(spent)} today, more than {TIMES_THE_HIGHEST} times the "
        f"${usd(highest)} of its highest day in the {DAYS_COMPARED} days before."
    )
    facts = {"spent_usd": usd(spent), "highest_usd": usd(highest), "day": today}
    yield _alert("spending.unusual", budget, today, text, facts | link)


def _stopped(stopped: StoppedModel) -> Alert:
    model, upstream = plain(stopped.model), plain(stopped.upstream)
    text = (
        f"A picture of {model} at {upstream} cost ${usd(stopped.stopped_nanos)}, more than 10 "
        "times its price. No more is bought of it until `gateway prices confirm` confirms it."
    )
    facts = {
        "text": text,
        "upstream": stopped.upstream,
        "model": stopped.model,
        "cost_usd": usd(stopped.stopped_nanos),
    }
    where = f"{stopped.upstream}/{stopped.model}:{stopped.stopped_ms}"
    return Alert(_id("price.stopped", where), "price.stopped", facts)


def _alert(
    event: str, budget: MonitoredBudget, where: str, text: str, facts: dict[str, str]
) -> Alert:
    account = budget.balance.account
    whose = {"level": account.level, "name": account.name}
    if budget.team:
        whose["team"] = budget.team
    if budget.owner:
        whose["owner"] = budget.owner
    see = f" See {facts['url']}." if "url" in facts else ""
    message = {"text": text + see, **whose, **facts}
    return Alert(_id(event, f"{account.id}:{where}"), event, message, account.id)


def _who(budget: MonitoredBudget) -> str:
    account = budget.balance.account
    return spender(account.level, account.name, budget.team)


def _id(event: str, where: str) -> str:
    return f"alr_{uuid.uuid5(uuid.NAMESPACE_OID, f'{event}:{where}').hex}"
