"""How a key stands: what it may do, what was spent and is held, what is left, and until when.

It is what `GET /v1/key` answers, for the holder of the key and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from gateway.accounts.rules.limits import LIMITS, Combine, Limit, effective
from gateway.accounts.rules.rate_leases import minute_ends_ms, minute_of
from gateway.accounts.tables import rate_leases
from gateway.accounts.tables.accounts import account_by_id
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.ledger.rules.budget import spendable
from gateway.ledger.tables.balances import balances_of
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.model.reservation import Balance
from gateway.model.units import time_text
from gateway.model.windows import day_of, window

Facts = dict[str, object]

SHOWN_WITH_USE = frozenset(
    {"budget_usd", "budget_period", "paid_images_per_day", "requests_per_minute"}
)
"""The limits that a level shows together with what is spent or used of them."""


async def standing(
    caller: Caller, *, database: Database, zone: ZoneInfo, now_ms: int
) -> Mapping[str, object]:
    """How the caller's key stands now, as JSON can hold it. Raises `state_unavailable`.

    Money is exact decimal text in dollars, times are ISO 8601 in UTC, null is unlimited or
    never::

        {"object": "key", "id": "key_…", "name": "first", "team": "design", "tags": {},
         "owner": "", "cost_centre": "", "expires_at": null, "paused": false,
         "spendable_usd": "4.98",        the least that is left over all levels
         "models": null, "max_reference_images": 5, "may_bypass_cache": true,
         "levels": [                     the organisation first, then the team, then the key
           {"level": "team", "name": "design", "paused": false,
            "budget": {"limit_usd": "5.00", "period": "month", "spent_usd": "0.01",
                       "held_usd": "0.01", "left_usd": "4.98", "resets_at": "…Z"},
            "paid_images": {"limit": 100, "bought": 1, "held": 1, "left": 98, "resets_at": "…Z"},
            "requests_per_minute": {"limit": 60, "left": 59, "resets_at": "…Z"},
            "max_in_flight": 5}]}

    Of the organisation only that is told which bounds it: what all teams together spend is
    not for the holder of one key, unless there is a budget for it. What is left of a minute's
    requests is what no process has set aside yet. Budgets, pauses and what is spent are of
    this moment; other limits are as the gateway goes by them, at most a second old.
    """
    day, minute = day_of(now_ms, zone), minute_of(now_ms)

    async def read(tx: Transaction) -> _Read:
        return _Read(
            balances=await balances_of(tx, caller.accounts, day, zone),
            leased=await rate_leases.leased(
                tx, [account.id for account in caller.accounts], minute
            ),
            expires_ms=(await account_by_id(tx, caller.key_account.id)).settings.expires_ms,
        )

    try:
        found = await database.read(read)
    except StateUnavailable:
        raise Refusal(
            "state_unavailable",
            "The gateway can't reach its books now, so it can't say what is left: try again.",
            retry_after_seconds=2,
        ) from None
    ends = _Ends(
        day=_time(window("day", day, zone).resets_ms), minute=_time(minute_ends_ms(minute))
    )
    return _facts(caller, found, ends)


@dataclass(frozen=True, slots=True)
class _Read:
    """What one transaction read of the state."""

    balances: Sequence[Balance]
    leased: Mapping[str, int]
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class _Ends:
    """When this day and this minute end."""

    day: str | None
    minute: str | None


def _facts(caller: Caller, found: _Read, ends: _Ends) -> Facts:
    left = spendable(found.balances)
    return {
        "object": "key",
        "id": caller.key_id,
        "name": caller.key_name,
        "team": caller.team,
        "tags": dict(caller.tags),
        "owner": caller.owner,
        "cost_centre": caller.cost_centre,
        "expires_at": _time(found.expires_ms),
        "paused": any(balance.account.paused for balance in found.balances),
        "spendable_usd": None if left is None else usd(left),
        **{
            limit.name: _shown(limit, effective(limit, caller.accounts))
            for limit in LIMITS
            if limit.combine is not Combine.EACH
        },
        "levels": [
            _level(balance, found.leased.get(balance.account.id, 0), ends)
            for balance in found.balances
        ],
    }


def _level(balance: Balance, leased: int, ends: _Ends) -> Facts:
    """One level's limits and how it stands in each; of the organisation, what bounds."""
    account = balance.account
    limits = account.limits
    facts: Facts = {
        "level": account.level,
        "name": account.name,
        "paused": account.paused,
        "budget": _budget(balance),
        "paid_images": _images(balance, ends.day),
        "requests_per_minute": _rate(limits.requests_per_minute, leased, ends.minute),
        **{
            limit.name: _shown(limit, getattr(limits, limit.column))
            for limit in LIMITS
            if limit.combine is Combine.EACH and limit.name not in SHOWN_WITH_USE
        },
    }
    if account.level == "organisation":
        if limits.budget_nanos is None:
            facts["budget"] = None
        if limits.paid_images_per_day is None:
            facts["paid_images"] = None
        return {name: value for name, value in facts.items() if value is not None}
    return facts


def _budget(balance: Balance) -> Facts:
    limit, spent, held = _limit(balance), balance.spent_nanos, balance.held_nanos
    return {
        "limit_usd": None if limit is None else usd(limit),
        "period": balance.period,
        "spent_usd": usd(spent),
        "held_usd": usd(held),
        "left_usd": None if limit is None else usd(max(0, limit - spent - held)),
        "resets_at": _time(balance.resets_ms),
    }


def _limit(balance: Balance) -> int | None:
    return balance.account.limits.budget_nanos


def _images(balance: Balance, resets_at: str | None) -> Facts:
    limit = balance.account.limits.paid_images_per_day
    taken = balance.images + balance.images_held
    return {
        "limit": limit,
        "bought": balance.images,
        "held": balance.images_held,
        "left": None if limit is None else max(0, limit - taken),
        "resets_at": resets_at,
    }


def _rate(limit: int | None, leased: int, resets_at: str | None) -> Facts | None:
    if limit is None:
        return None
    return {"limit": limit, "left": max(0, limit - leased), "resets_at": resets_at}


def _shown(limit: Limit, value: Any) -> object:
    return None if value is None else limit.type.as_json(value)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)
