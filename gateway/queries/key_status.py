"""The status of a key: its limits and what is left of each, as `GET /v1/key` answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from gateway.accounts.rules.limits import Limit, effective
from gateway.accounts.rules.rate_leases import minute_ends_ms, minute_of
from gateway.accounts.tables import rate_leases
from gateway.accounts.tables.accounts import account_by_id
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.ledger.rules.budget import spendable
from gateway.ledger.tables.balances import balances_of
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.model.reservation import Balance
from gateway.model.windows import day_of, window
from gateway.queries.models.key_status import COMBINED, OF_A_LEVEL, KeyStatusView
from gateway.queries.models.read_model import Json, ReadModel


async def key_status(
    caller: Caller, *, database: Database, zone: ZoneInfo, now_ms: int
) -> ReadModel:
    """The status of the caller's key now. Raises `state_unavailable`."""
    day, minute = day_of(now_ms, zone), minute_of(now_ms)

    async def read(tx: Transaction) -> _KeyState:
        return _KeyState(
            balances=await balances_of(tx, caller.accounts, day, zone),
            leased=await rate_leases.leased(
                tx, [account.id for account in caller.accounts], minute
            ),
            expires_ms=(await account_by_id(tx, caller.key_account.id)).settings.expires_ms,
            day_ends_ms=window("day", day, zone).resets_ms,
            minute_ends_ms=minute_ends_ms(minute),
        )

    try:
        state = await database.read(read)
    except StateUnavailable:
        raise Refusal(
            "state_unavailable",
            "The gateway can't reach its database now, so what is left is not known. Try again.",
            retry_after_seconds=2,
        ) from None
    return _view(caller, state)


@dataclass(frozen=True, slots=True)
class _KeyState:
    """One transaction's reading of the state, and when this day and this minute end."""

    balances: Sequence[Balance]
    leased: Mapping[str, int]
    expires_ms: int | None
    day_ends_ms: int | None
    minute_ends_ms: int


def _view(caller: Caller, state: _KeyState) -> ReadModel:
    return KeyStatusView.of(
        {
            "id": caller.key_id,
            "name": caller.key_name,
            "team": caller.team,
            "tags": caller.tags,
            "owner": caller.owner,
            "cost_centre": caller.cost_centre,
            "expires_at": state.expires_ms,
            "paused": any(balance.account.paused for balance in state.balances),
            "spendable_usd": spendable(state.balances),
            **{limit.name: _shown(limit, effective(limit, caller.accounts)) for limit in COMBINED},
            "levels": [_level(balance, state) for balance in state.balances],
        }
    )


def _level(balance: Balance, state: _KeyState) -> Json:
    """One level's limits and what is used of each; of the organisation only limits that are set."""
    account = balance.account
    limits, leased = account.limits, state.leased.get(account.id, 0)
    shows_all = account.level != "organisation"
    rate = limits.requests_per_minute
    return {
        "level": account.level,
        "name": account.name,
        "paused": account.paused,
        "budget": _budget(balance) if shows_all or limits.budget_nanos is not None else None,
        "paid_images": _images(balance, state.day_ends_ms)
        if shows_all or limits.paid_images_per_day is not None
        else None,
        "requests_per_minute": None
        if rate is None
        else {"limit": rate, "left": max(0, rate - leased), "resets_at": state.minute_ends_ms},
        **{limit.name: _shown(limit, getattr(limits, limit.column)) for limit in OF_A_LEVEL},
    }


def _budget(balance: Balance) -> Json:
    limit, spent, held = (
        balance.account.limits.budget_nanos,
        balance.spent_nanos,
        balance.held_nanos,
    )
    return {
        "limit_usd": limit,
        "period": balance.period,
        "spent_usd": spent,
        "held_usd": held,
        "left_usd": None if limit is None else max(0, limit - spent - held),
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


def _shown(limit: Limit, value: Any) -> object:
    return None if value is None else limit.type.as_json(value)
