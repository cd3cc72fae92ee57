"""Alerts by cause: refusals for money, forecasts over budget, unusual spending, odd prices.

Each occasion has an id that follows from it, so that it is reported once, by whichever process
sees it first.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator, Mapping, Sequence

from gateway.alerts.rules.spending import (
    DAYS_COMPARED,
    TIMES_THE_HIGHEST,
    RefusedEdit,
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
    tx: Transaction,
    budgets: Sequence[MonitoredBudget],
    refused: Mapping[str, RefusedEdit],
    today: str,
    now_ms: int,
    console_url: str,
) -> list[Alert]:
    """The alerts that these budgets, refusals and prices give reason for; they may have been sent.

    `refused` has, by account, an edit to report that no threshold reports.
    """
    watched = [each for each in budgets if each.balance.account.level != "key"]
    days = await spending.spent_by_day(tx, [each.balance.account.id for each in watched], today)
    link = functools.partial(_link, console_url)
    found = [
        alert
        for budget in watched
        for alert in (
            *_forecasts(budget, now_ms, link("budgets")),
            *_unusual(budget, dict(days.get(budget.balance.account.id, {})), today, link("spend")),
        )
    ]
    found += [
        _refusal(budget, edit, link("budgets"))
        for budget in budgets
        if (edit := refused.get(budget.balance.account.id))
        and edit.limit_nanos == budget.limit_nanos
    ]
    stopped = await spending.stopped_models(tx)
    return found + [_stopped(each, link("operations")) for each in stopped]


def _link(console_url: str, page: str) -> dict[str, str]:
    return {"url": f"{console_url}/{page}"} if console_url else {}


def _forecasts(budget: MonitoredBudget, now_ms: int, link: dict[str, str]) -> Iterator[Alert]:
    balance = budget.balance
    limit, forecast = budget.limit_nanos, forecast_over_budget(balance, now_ms)
    if limit is None or forecast is None:
        return
    resets_at = time_text(balance.resets_ms or 0)
    text = (
        f"{_who(budget)} will have spent ${usd(forecast)} of ${usd(limit)} at this rate when the "
        f"budget resets at {resets_at}; it has spent ${usd(balance.spent_nanos)}."
    )
    facts = {
        "limit_usd": usd(limit),
        "spent_usd": usd(balance.spent_nanos),
        "forecast_usd": usd(forecast),
        "resets_at": resets_at,
    }
    where = f"{balance.period}:{budget.first_day}:{limit}"
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


def _refusal(budget: MonitoredBudget, edit: RefusedEdit, link: dict[str, str]) -> Alert:
    balance, needed = budget.balance, usd(edit.needed_nanos)
    left = usd(max(0, balance.left_nanos or 0))
    text = (
        f"An edit of the team {plain(edit.team)} was refused: it needs ${needed}, and ${left} is "
        f"left of the ${usd(edit.limit_nanos)} of {_who(budget, subject=False)}."
    )
    facts = {
        "team": edit.team,
        "owner": edit.owner,
        "needed_usd": needed,
        "left_usd": left,
        "limit_usd": usd(edit.limit_nanos),
        "spent_usd": usd(balance.spent_nanos),
    }
    where = f"{balance.period}:{budget.first_day}:{edit.limit_nanos}"
    return _alert("budget.refused", budget, where, text, facts | link)


def _stopped(stopped: StoppedModel, link: dict[str, str]) -> Alert:
    model, upstream = plain(stopped.model), plain(stopped.upstream)
    cost = usd(stopped.stopped_nanos)
    whose = f" of the team {plain(stopped.team)}" if stopped.team else ""
    text = (
        f"A picture{whose} by {model} at {upstream} cost ${cost}, more than 10 times its price. No "
        "more is bought of it until `gateway prices confirm` confirms it."
    )
    facts = {
        "upstream": stopped.upstream,
        "model": stopped.model,
        "team": stopped.team,
        "owner": stopped.owner,
        "cost_usd": cost,
    }
    where = f"{stopped.upstream}/{stopped.model}:{stopped.stopped_ms}"
    return Alert(_id("price.stopped", where), "price.stopped", _message(text, facts | link))


def _alert(
    event: str, budget: MonitoredBudget, where: str, text: str, facts: dict[str, str]
) -> Alert:
    account = budget.balance.account
    whose = {"level": account.level, "name": account.name}
    whose |= {"team": budget.team, "owner": budget.owner}
    message = _message(text, whose | facts)
    return Alert(_id(event, f"{account.id}:{where}"), event, message, account.id)


def _message(text: str, facts: dict[str, str]) -> dict[str, str]:
    """The facts that are known, and a text that ends with the link."""
    see = f" See {facts['url']}." if "url" in facts else ""
    return {"text": text + see, **{name: value for name, value in facts.items() if value}}


def _who(budget: MonitoredBudget, *, subject: bool = True) -> str:
    account = budget.balance.account
    who = spender(account.level, account.name, budget.team)
    return who if subject else who[0].lower() + who[1:]


def _id(event: str, where: str) -> str:
    return f"alr_{uuid.uuid5(uuid.NAMESPACE_OID, f'{event}:{where}').hex}"
