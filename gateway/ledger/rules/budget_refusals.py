"""The refusals of calls that cannot be paid for."""

from __future__ import annotations

import shlex

from gateway.ledger.rules.budget import OverBudget, SpendingPaused
from gateway.model.caller import Account
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.model.units import time_text


def used_up(over: OverBudget, budget: str, console_url: str = "") -> Refusal:
    """The limit is used up: waiting does not help. `budget` is the name of its budget."""
    facts = {**_facts(over), "budget": budget}
    ask = "Ask the gateway's operator to raise it"
    if over.kind == "budget":
        whose = over.level if over.level == "organisation" else f"{over.level} {budget}"
        what = (
            f"The budget of the {whose}, ${facts['limit']}, has ${facts['spent']} spent and "
            f"${facts['held']} held, and this edit is reserved at ${facts['needed']}"
        )
        ask = "Ask for more with POST /v1/key/requests" + (
            f", or at {console_url}/budgets"
            if console_url
            else f"; an operator grants it: `gateway budgets grant {shlex.quote(budget)} --usd 20`"
        )
        facts |= {"url": f"{console_url}/budgets"} if console_url else {}
    else:
        what = (
            f"This {over.level} may buy {facts['limit']} pictures a day and has bought "
            f"{facts['spent']}; this edit asks for {facts['needed']}"
        )
    when = f"; it resets at {facts['resets_at']}" if facts["resets_at"] else ""
    return Refusal(
        "insufficient_quota",
        f"{what}{when}. {ask}. Stored pictures are still served.",
        facts=facts,
    )


def used_up_by_user(over: OverBudget) -> Refusal:
    """The end user's limit is used up. Says no name: the request has sent it."""
    facts = _facts(over)
    unit = "$" if over.kind == "budget" else ""
    limit, spent, held, needed = (
        f"{unit}{facts[name]}" for name in ("limit", "spent", "held", "needed")
    )
    what = "budget" if over.kind == "budget" else "number of pictures a day"
    when = f"; it resets at {facts['resets_at']}" if facts["resets_at"] else ""
    return Refusal(
        "end_user_budget",
        f"This end user's {what} is {limit}; {spent} is used and {held} held, and this edit needs "
        f"{needed}{when}. Ask the gateway's operator to raise it. Stored pictures are still "
        "served.",
        facts=facts,
    )


def held(account_id: str, over: OverBudget | None = None) -> Refusal:
    """Calls in flight hold the rest of the limit: a later attempt may succeed."""
    level = account_id.partition(":")[0]
    return Refusal(
        "budget_held",
        f"Edits that are still running hold the rest of {_whose(level).lower()}'s budget. Try "
        "again when one has finished.",
        facts=_facts(over) if over else {"level": level},
        retry_after_seconds=5,
    )


def in_flight(account: Account) -> Refusal:
    """The limit of paid calls in flight is reached, over all processes."""
    limit = account.limits.max_in_flight
    return Refusal(
        "rate_limit_exceeded",
        f"This {account.level} already has {limit} paid calls in flight, its limit. Calls whose "
        "clients have left count too. Wait for one to finish.",
        facts={
            "level": account.level, "limit_name": "max_in_flight", "limit": limit, "spent": 0,
            "held": limit, "resets_at": None,
        },
        retry_after_seconds=1,
    )  # fmt: skip


def paused(pause: SpendingPaused) -> Refusal:
    return Refusal(
        "spending_paused",
        f"Spending is paused for this {pause.level}: nothing is bought until it is resumed. "
        "Stored pictures are still served.",
        facts={"level": pause.level},
    )


def price_unconfirmed(model: str, cost_nanos: int) -> Refusal:
    return Refusal(
        "price_unconfirmed",
        f"A picture of {model} has cost ${usd(cost_nanos)}, more than 10 times its expected price. "
        "The gateway buys no more of this model until its operator confirms the price with "
        f"`gateway prices confirm {model}`. Nothing was charged. Stored pictures are still served.",
        param="model",
    )


def state_unavailable(reason: str = "") -> Refusal:
    return Refusal(
        "state_unavailable",
        f"The gateway cannot use its ledger{f' ({reason})' if reason else ''}, so it buys "
        "nothing. Nothing was charged. Try again shortly.",
        retry_after_seconds=2,
    )


def _whose(level: str) -> str:
    return "This end user" if level == "user" else f"This {level}"


def _facts(over: OverBudget) -> dict[str, object]:
    as_text, unit = (usd, "usd") if over.kind == "budget" else (str, "images")
    return {
        "level": over.level,
        "limit": as_text(over.limit),
        "spent": as_text(over.spent),
        "held": as_text(over.held),
        "needed": as_text(over.needed),
        "unit": unit,
        "resets_at": None if over.resets_ms is None else time_text(over.resets_ms),
    }
