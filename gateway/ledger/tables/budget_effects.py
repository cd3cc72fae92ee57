"""What amounts that are to be booked would do to the budgets of today."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo

from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.rules.payer import Shift
from gateway.ledger.tables.balances import accounts_of, balances_of
from gateway.model.caller import Account
from gateway.model.windows import TOTAL, window

_BUDGETED = (
    "SELECT id FROM accounts WHERE budget_nanos IS NOT NULL AND ended_ms IS NULL AND id IN {names}"
)


@dataclass(frozen=True, slots=True)
class BudgetEffect:
    """An account whose budget would have another amount spent in its present window."""

    account: str
    budget_nanos: int
    before_nanos: int
    after_nanos: int

    @property
    def reopened(self) -> bool:
        """Is it used up now, and would not be then?"""
        return self.before_nanos >= self.budget_nanos > self.after_nanos


async def budget_effects(
    tx: Transaction, shifts: Iterable[Shift], today: str, zone: tzinfo
) -> list[BudgetEffect]:
    """The budgets whose present window these amounts concern."""
    moved: dict[Account, Counter[str]] = {}
    for shift in shifts:
        for account in accounts_of(shift.team, shift.key_id):
            moved.setdefault(account, Counter())[shift.day] += shift.nanos
    budgeted = {row["id"] for row in await fetch_named(tx, _BUDGETED, (a.id for a in moved))}
    accounts = [account for account in moved if account.id in budgeted]
    found = []
    for balance in await balances_of(tx, accounts, today, zone) if accounts else ():
        days = window(balance.period, today, zone)
        by_day = next(each for account, each in moved.items() if account.id == balance.account.id)
        nanos = sum(
            nanos
            for day, nanos in by_day.items()
            if balance.period == TOTAL or days.first_day <= day <= days.last_day
        )
        if nanos:
            budget, spent = balance.limit_nanos or 0, balance.spent_nanos
            found.append(BudgetEffect(balance.account.id, budget, spent, spent + nanos))
    return found
