"""Balances: the spending and the held money of every account, by day and in total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.database.database import Row, StateUnavailable, Transaction, Value
from gateway.database.multirow import fetch_named, insert_rows
from gateway.model.caller import ORGANISATION, Account, Period
from gateway.model.reservation import Balance
from gateway.model.windows import TOTAL, window


class UnknownAccount(Exception):
    """A paying account is not in the state; nothing was booked."""


class DayClosed(StateUnavailable):
    """The day of booking is closed: this process's clock is behind."""


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """A change of one day's balances, of a key and the accounts above it."""

    team: str
    key_id: str
    day: str
    spent_nanos: int = 0
    held_nanos: int = 0
    images: int = 0
    images_held: int = 0


_AMOUNTS = ("spent_nanos", "held_nanos", "images", "images_held")
_LIMITS = ("budget_nanos", "budget_period", "paid_images_per_day", "max_in_flight")
_HEAD = f"INSERT INTO balances (account, day, {', '.join(_AMOUNTS)})"
_ADD = "ON CONFLICT (account, day) DO UPDATE SET " + ", ".join(
    f"{name} = balances.{name} + excluded.{name}" for name in _AMOUNTS
)

_IN_WINDOW = (
    "FROM balances b WHERE b.account = a.id "
    "AND b.day >= CASE a.budget_period "
    "WHEN 'day' THEN $1 WHEN 'week' THEN $2 WHEN 'month' THEN $3 ELSE 'total' END "
    "AND b.day <= CASE a.budget_period "
    "WHEN 'day' THEN $1 WHEN 'week' THEN $4 WHEN 'month' THEN $5 ELSE 'total' END"
)
_BALANCES = (
    f"SELECT a.id, a.paused, {', '.join(f'a.{name}' for name in _LIMITS)}, "
    "COALESCE(d.images, 0) AS images, COALESCE(d.images_held, 0) AS images_held, "
    "(SELECT MAX(last_day) FROM closings) AS closed_through, "
    f"COALESCE((SELECT CAST(SUM(b.spent_nanos) AS BIGINT) {_IN_WINDOW}), 0) AS spent_nanos, "
    f"COALESCE((SELECT CAST(SUM(b.held_nanos) AS BIGINT) {_IN_WINDOW}), 0) AS held_nanos "
    "FROM accounts a LEFT JOIN balances d ON d.account = a.id AND d.day = $1 WHERE a.id IN {names}"
)


def accounts_of(team: str, key_id: str) -> tuple[Account, Account, Account]:
    """The accounts that pay for a key's calls, in the order of locking."""
    return (
        Account(ORGANISATION, "organisation", ORGANISATION),
        Account(f"team:{team}", "team", team),
        Account(f"key:{key_id}", "key", key_id),
    )


async def book(tx: Transaction, moves: Sequence[BalanceChange]) -> None:
    """Add these changes to the balances of their days and to the totals.

    Locks every changed row until the transaction ends: totals first, and the organisation
    before teams before keys, in any order of the changes.
    """
    sums: dict[tuple[int, int, str, str], list[int]] = {}
    for move in moves:
        amounts = [getattr(move, name) for name in _AMOUNTS]
        for rank, account in enumerate(accounts_of(move.team, move.key_id)):
            for later, day in enumerate((TOTAL, move.day)):
                row = sums.setdefault((later, rank, account.id, day), [0, 0, 0, 0])
                for index, amount in enumerate(amounts):
                    row[index] += amount
    rows: list[tuple[Value, ...]] = [
        (account_id, day, *row) for (_, _, account_id, day), row in sorted(sums.items())
    ]
    await insert_rows(tx, _HEAD, rows, _ADD)


async def balances_of(
    tx: Transaction, accounts: Sequence[Account], day: str, zone: tzinfo, *, booked: bool = False
) -> list[Balance]:
    """The balances of these accounts in their windows that hold `day`.

    Money is the budget window's, images are the day's. The returned accounts have the limits of
    purchases and the pause that are in the state now. `booked` is true if this transaction has
    booked in that day: then it raises DayClosed. Raises UnknownAccount.
    """
    week, month = window("week", day, zone), window("month", day, zone)
    days = (day, week.first_day, month.first_day, week.last_day, month.last_day)
    ids = [account.id for account in accounts]
    found = {row["id"]: row for row in await fetch_named(tx, _BALANCES, ids, *days)}
    if missing := [account for account in ids if account not in found]:
        raise UnknownAccount(f"the state has no account {', '.join(missing)}")
    if booked and any(day <= (row["closed_through"] or "") for row in found.values()):
        raise DayClosed(f"{day} is closed: nothing more is booked in it")
    return [_balance(account, found[account.id], day, zone) for account in accounts]


def _balance(account: Account, row: Row, day: str, zone: tzinfo) -> Balance:
    period: Period = row["budget_period"] or TOTAL
    limits = replace(account.limits, **{name: row[name] for name in _LIMITS})
    return Balance(
        account=replace(account, limits=limits, paused=bool(row["paused"])),
        **{name: row[name] for name in _AMOUNTS},
        resets_ms=window(period, day, zone).resets_ms,
        period=period,
    )
