"""Budgets: what is spent, held and left of each, its forecast, and today's refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from gateway.accounts.tables.accounts import AccountRecord
from gateway.accounts.tables.organisation import show_organisation
from gateway.alerts.tables.refused_edits import refused_on
from gateway.database.database import Transaction
from gateway.ledger.rules.spending_forecast import forecast_nanos
from gateway.ledger.tables.balances import balances_of
from gateway.model.caller import ORGANISATION
from gateway.model.reservation import Balance
from gateway.model.windows import day_of
from gateway.queries.models.budgets import BudgetView


async def budget_views(
    tx: Transaction, records: Sequence[AccountRecord], zone: tzinfo, now_ms: int
) -> Mapping[str, BudgetView]:
    """The budgets of these accounts by the accounts' ids, in the windows of now."""
    day, names = day_of(now_ms, zone), {record.id: _name(record) for record in records}
    organisation = (await show_organisation(tx)).account
    others = [record.account for record in records if record.id != ORGANISATION]
    whole, *balances = await balances_of(tx, [organisation, *others], day, zone)
    refused = await refused_on(tx, day, names)
    return {
        each.account.id: _view(
            each,
            name=names[each.account.id],
            now_ms=now_ms,
            needed_nanos=each.picture_nanos or whole.picture_nanos,
            refused_today=refused.get(each.account.id, 0),
        )
        for each in (whole, *balances)
        if each.account.id in names
    }


def _view(
    balance: Balance, *, name: str, now_ms: int, needed_nanos: int, refused_today: int
) -> BudgetView:
    facts = {
        "account": balance.account.id,
        "name": name,
        "level": balance.account.level,
        "limit_usd": balance.limit_nanos,
        "granted_usd": balance.granted_nanos,
        "period": balance.period,
        "spent_usd": balance.spent_nanos,
        "held_usd": balance.held_nanos,
        "left_usd": balance.left_nanos,
        "forecast_usd": forecast_nanos(balance.spent_nanos, balance.window, now_ms),
        "needed_usd": needed_nanos or None,
        "resets_at": balance.resets_ms,
        "refused_today": refused_today,
    }
    return BudgetView.of(facts)


def _name(record: AccountRecord) -> str:
    team = (record.parent or "").removeprefix("team:")
    return f"{team}/{record.name}" if record.level == "key" else record.name
