"""The status of a key: its limits and what is left of each, as `GET /v1/key` answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from gateway.accounts.rules.limits import Limit, effective
from gateway.accounts.rules.rate_leases import minute_ends_ms, minute_of
from gateway.accounts.tables import rate_leases
from gateway.accounts.tables.accounts import account_by_id
from gateway.database.database import Database, Transaction
from gateway.ledger.rules.budget import spendable
from gateway.ledger.tables.balances import balances_of
from gateway.model.caller import Account, Caller
from gateway.model.reservation import Balance
from gateway.model.windows import day_of, window
from gateway.queries.models.key_status import COMBINED, OF_A_LEVEL, KeyStatusView
from gateway.queries.models.read_model import Json, ReadModel


async def key_status(caller: Caller, database: Database, zone: ZoneInfo, now_ms: int) -> ReadModel:
    """The status of the caller's key now. Raises StateUnavailable."""
    day, minute = day_of(now_ms, zone), minute_of(now_ms)
    day_ends_ms = window("day", day, zone).resets_ms

    async def read(tx: Transaction) -> ReadModel:
        balances = await balances_of(tx, caller.accounts, day, zone)
        leased = await rate_leases.leased(tx, [each.id for each in caller.accounts], minute)
        rates = {
            balance.account.id: _rate(balance.account, leased, minute_ends_ms(minute))
            for balance in balances
        }
        return KeyStatusView.of(
            {
                "id": caller.key_id,
                "name": caller.key_name,
                "team": caller.team,
                "tags": caller.tags,
                "owner": caller.owner,
                "cost_centre": caller.cost_centre,
                "expires_at": (await account_by_id(tx, caller.key_account.id)).settings.expires_ms,
                "sandbox": caller.sandbox,
                "paused": any(balance.account.paused for balance in balances),
                "spendable_usd": spendable(balances),
                **{
                    limit.name: _json(limit, effective(limit, caller.accounts))
                    for limit in COMBINED
                },
                "levels": [
                    _level(balance, _images(balance, day_ends_ms), rates[balance.account.id])
                    for balance in balances
                ],
            }
        )

    return await database.read(read)


def _level(balance: Balance, images: Json, rate: Json | None) -> Json:
    """One level's limits and what is used of each; of the organisation only limits that are set."""
    account, limits = balance.account, balance.account.limits
    shows_all = account.level != "organisation"
    shows_images = shows_all or limits.paid_images_per_day is not None
    return {
        "level": account.level,
        "name": account.name,
        "paused": account.paused,
        "budget": _budget(balance) if shows_all or limits.budget_nanos is not None else None,
        "paid_images": images if shows_images else None,
        "requests_per_minute": rate,
        **{limit.name: _json(limit, getattr(limits, limit.column)) for limit in OF_A_LEVEL},
    }


def _rate(account: Account, leased: Mapping[str, int], ends_ms: int) -> Json | None:
    limit = account.limits.requests_per_minute
    if limit is None:
        return None
    return {"limit": limit, "left": max(0, limit - leased.get(account.id, 0)), "resets_at": ends_ms}


def _budget(balance: Balance) -> Json:
    return {
        "limit_usd": balance.limit_nanos,
        "granted_usd": balance.granted_nanos or None,
        "period": balance.period,
        "spent_usd": balance.spent_nanos,
        "held_usd": balance.held_nanos,
        "left_usd": balance.left_nanos,
        "resets_at": balance.resets_ms,
    }


def _images(balance: Balance, resets_ms: int | None) -> Json:
    limit = balance.account.limits.paid_images_per_day
    taken = balance.images + balance.images_held
    return {
        "limit": limit,
        "bought": balance.images,
        "held": balance.images_held,
        "left": None if limit is None else max(0, limit - taken),
        "resets_at": resets_ms,
    }


def _json(limit: Limit, value: Any) -> object:
    return None if value is None else limit.type.as_json(value)
