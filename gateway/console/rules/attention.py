"""Budgets that need attention: used up, nearly so, or soon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

NEARLY = Decimal("0.8")
Severity = Literal["bad", "warn"]


@dataclass(frozen=True, slots=True)
class BudgetNotice:
    """A budget, as `GET /admin/v1/budgets` has it, and what is the matter with it."""

    budget: Mapping[str, Any]
    severity: Severity
    text: str
    used: float


def notices(budgets: Iterable[Mapping[str, Any]]) -> list[BudgetNotice]:
    """The budgets that need attention, the worst first."""
    found = [notice for budget in budgets if (notice := _notice(budget))]
    return sorted(found, key=lambda each: (each.severity != "bad", -each.used))


def used_share(budget: Mapping[str, Any]) -> float:
    """The part of a budget that is spent or held, 0 to 1 or a little more."""
    limit = Decimal(budget["limit_usd"] or 0)
    used = Decimal(budget["spent_usd"]) + Decimal(budget["held_usd"])
    return float(used / limit) if limit else 1.0


def _notice(budget: Mapping[str, Any]) -> BudgetNotice | None:
    if budget["limit_usd"] is None:
        return None
    limit, left = Decimal(budget["limit_usd"]), Decimal(budget["left_usd"])
    used = used_share(budget)
    if refused := budget["refused_today"]:
        edits = "1 edit" if refused == 1 else f"{refused:,} edits"
        return BudgetNotice(budget, "bad", f"refused {edits} today", used)
    if left < Decimal(budget["needed_usd"] or 0) or left <= 0:
        return BudgetNotice(budget, "bad", "too little left for one more picture", used)
    if used >= NEARLY:
        return BudgetNotice(budget, "warn", f"{used:.0%} used", used)
    if budget["forecast_usd"] is not None and Decimal(budget["forecast_usd"]) > limit:
        return BudgetNotice(budget, "warn", "will not last for its period", used)
    return None
