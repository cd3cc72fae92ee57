"""The message of an alert: a sentence and its facts."""

from __future__ import annotations

from typing import Any

from gateway.alerts.rules.thresholds import PassedThreshold, sentence
from gateway.alerts.tables.outbox import Alert, Due
from gateway.model.money import usd
from gateway.model.units import time_text

EVENT = "budget.mark_passed"


def message_of(due: Due, console_url: str = "") -> dict[str, object]:
    """An alert as it is posted: `text` for people and chat programs, the rest for machines.

    `id` is the same at every attempt. Money is exact decimal text in dollars, times are
    ISO 8601 in UTC, `window` is the first day of the budget's window. The organisation's budget
    has no `team`, and its own `owner`; a budget that never resets has no `resets_at`. `url` is
    that of the console, if it is known.
    """
    if isinstance(due.content, Alert):
        event, facts = due.content.event, due.content.facts
    else:
        event, facts = EVENT, facts_of(due.content)
        text = sentence(due.content, facts.get("resets_at"))
        if console_url:
            facts["url"] = f"{console_url}/budgets"
            text += f" See {facts['url']}."
        facts = {"text": text, **facts}
    return {"event": event, "id": due.id, "at": time_text(due.at_ms), **facts}


def facts_of(passed: PassedThreshold) -> dict[str, Any]:
    """The facts of a passed threshold, for log and webhook alike."""
    resets_ms = passed.resets_ms
    left_nanos = passed.limit_nanos - passed.spent_nanos - passed.held_nanos
    facts = {
        "level": passed.level,
        "account": passed.account,
        "name": passed.name,
        "team": passed.team or None,
        "owner": passed.owner or None,
        "percent": passed.percent,
        "limit_usd": usd(passed.limit_nanos),
        "spent_usd": usd(passed.spent_nanos),
        "held_usd": usd(passed.held_nanos),
        "left_usd": usd(max(0, left_nanos)),
        "period": passed.period,
        "window": passed.first_day,
        "resets_at": None if resets_ms is None else time_text(resets_ms),
        "refused": passed.refused,
    }
    return {name: value for name, value in facts.items() if value is not None}
