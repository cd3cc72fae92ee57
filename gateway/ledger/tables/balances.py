"""Balances: the spending and the held money of every account, by day and in total.

Every end user of a team, and of a key, is an account too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.database.database import Row, StateUnavailable, Transaction, Value
from gateway.database.multirow import fetch_named, insert_rows
from gateway.model.caller import ORGANISATION, Account, Limits, Period
from gateway.model.reservation import Balance
from gateway.model.windows import TOTAL, budget_window, window


class UnknownAccount(Exception):
    """A paying account is not in the state; nothing was booked."""


class DayClosed(StateUnavailable):
    """The day of booking is closed: this process's clock is behind."""


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """A change of one day's balances: of a key, the accounts above it, and their end user."""

    team: str
    key_id: str
    day: str
    spent_nanos: int = 0
    held_nanos: int = 0
    images: int = 0
    images_held: int = 0
    picture_nanos: int = 0
    """Reserved for one picture; 0 where the change is no reservation."""
    end_user: str = ""


_AMOUNTS = ("spent_nanos", "held_nanos", "images", "images_held")
_LIMITS = (
    *("budget_nanos", "budget_period", "budget_weekday", "budget_month_day"),
    *("paid_images_per_day", "max_in_flight"),
    *("end_user_budget_nanos", "end_user_images_per_day"),
)
_HEAD = f"INSERT INTO balances (account, day, {', '.join(_AMOUNTS)}, picture_nanos)"
_ADD = "ON CONFLICT (account, day) DO UPDATE SET " + ", ".join(
    (
        *(f"{name} = balances.{name} + excluded.{name}" for name in _AMOUNTS),
        "picture_nanos = COALESCE(NULLIF(excluded.picture_nanos, 0), balances.picture_nanos)",
    )
)

# Of a budget's window: $2 to $5 have a day for each weekday or day of the month of its beginning.
_FIRST_DAY, _LAST_DAY = (
    "CASE a.budget_period WHEN 'day' THEN $1 "
    f"WHEN 'week' THEN SUBSTR(CAST({weeks} AS TEXT), "
    "CAST(1 + 10 * COALESCE(a.budget_weekday, 0) AS INTEGER), 10) "
    f"WHEN 'month' THEN SUBSTR(CAST({months} AS TEXT), "
    "CAST(10 * COALESCE(a.budget_month_day, 1) - 9 AS INTEGER), 10) ELSE 'total' END"
    for weeks, months in (("$2", "$4"), ("$3", "$5"))
)
_IN_WINDOW = (
    "FROM balances b WHERE b.account = {account} "
    f"AND b.day >= {_FIRST_DAY} AND b.day <= {_LAST_DAY}"
)
_GRANTED = (
    "FROM grants g WHERE g.account = {account} AND g.period = COALESCE(a.budget_period, 'total') "
    f"AND g.first_day = {_FIRST_DAY} AND g.last_day >= $1 "
    "AND g.granted_ms IS NOT NULL AND g.ended_ms IS NULL"
)
_BALANCES = (
    f"SELECT a.id, a.paused, {', '.join(f'a.{name}' for name in _LIMITS)}, "
    "COALESCE(d.images, 0) AS images, COALESCE(d.images_held, 0) AS images_held, "
    "(SELECT MAX(last_day) FROM closings) AS closed_through, "
    f"COALESCE((SELECT CAST(SUM(b.spent_nanos) AS BIGINT) {_IN_WINDOW}), 0) AS spent_nanos, "
    f"COALESCE((SELECT CAST(SUM(b.held_nanos) AS BIGINT) {_IN_WINDOW}), 0) AS held_nanos, "
    f"COALESCE((SELECT CAST(SUM(g.nanos) AS BIGINT) {_GRANTED}), 0) AS granted_nanos, "
    "COALESCE((SELECT t.picture_nanos FROM balances t "
    "WHERE t.account = {account} AND t.day = 'total'), 0) AS picture_nanos "
    "FROM accounts a LEFT JOIN balances d ON d.account = {account} AND d.day = $1 "
    "WHERE a.id IN {names}"
)
_OF_ACCOUNTS = _BALANCES.replace("{account}", "a.id")
_OF_END_USER = _BALANCES.replace("{account}", "'user:' || a.id || '/' || CAST($6 AS TEXT)")


def accounts_of(team: str, key_id: str) -> tuple[Account, Account, Account]:
    """The accounts that pay for a key's calls, in the order of locking."""
    return (
        Account(ORGANISATION, "organisation", ORGANISATION),
        Account(f"team:{team}", "team", team),
        Account(f"key:{key_id}", "key", key_id),
    )


def end_user_account(of: Account, end_user: str) -> Account:
    """The account of an end user of a team or a key, with the limits that hold there."""
    limits = Limits(
        budget_nanos=of.limits.end_user_budget_nanos,
        budget_period=of.limits.budget_period,
        budget_weekday=of.limits.budget_weekday,
        budget_month_day=of.limits.budget_month_day,
        paid_images_per_day=of.limits.end_user_images_per_day,
    )
    return Account(f"user:{of.id}/{end_user}", "user", end_user, limits)


def booked_accounts(team: str, key_id: str, end_user: str = "") -> tuple[Account, ...]:
    """All accounts in which a key's calls are booked, in the order of locking."""
    paying = accounts_of(team, key_id)
    if not end_user:
        return paying
    return (*paying, *(end_user_account(each, end_user) for each in paying[1:]))


async def book(tx: Transaction, moves: Sequence[BalanceChange]) -> None:
    """Add these changes to the balances of their days and to the totals.

    Locks every changed row until the transaction ends: totals first, and the organisation
    before teams before keys before end users, in any order of the changes.
    """
    sums: dict[tuple[int, int, str, str], list[int]] = {}
    for move in moves:
        amounts = [getattr(move, name) for name in _AMOUNTS]
        accounts = booked_accounts(move.team, move.key_id, move.end_user)
        for rank, account in enumerate(accounts):
            for later, day in enumerate((TOTAL, move.day)):
                row = sums.setdefault((later, rank, account.id, day), [0, 0, 0, 0, 0])
                for index, amount in enumerate(amounts):
                    row[index] += amount
                row[-1] = move.picture_nanos or row[-1]
    rows: list[tuple[Value, ...]] = [
        (account_id, day, *row) for (_, _, account_id, day), row in sorted(sums.items())
    ]
    await insert_rows(tx, _HEAD, rows, _ADD)


async def balances_of(
    tx: Transaction,
    accounts: Sequence[Account],
    day: str,
    zone: tzinfo,
    *,
    booked: bool = False,
    end_user: str = "",
) -> list[Balance]:
    """The balances of these accounts in their windows that hold `day`, then those of `end_user`
    in each account that limits its end users.

    Money is the budget window's, with the grants that count on `day`; images are the day's. The
    returned accounts have the limits of purchases and the pause that are in the state now.
    `booked` is true if this transaction has booked in that day: then it raises DayClosed. Raises
    UnknownAccount.
    """
    ids, days = [account.id for account in accounts], (day, *_edges(day, zone))
    found = {row["id"]: row for row in await fetch_named(tx, _OF_ACCOUNTS, ids, *days)}
    if missing := [account for account in ids if account not in found]:
        raise UnknownAccount(f"the state has no account {', '.join(missing)}")
    if booked and any(day <= (row["closed_through"] or "") for row in found.values()):
        raise DayClosed(f"{day} is closed: nothing more is booked in it")
    current = [_current(account, found[account.id]) for account in accounts]
    balances = [_balance(account, found[account.id], day, zone) for account in current]
    limiting = [account for account in current if end_user and account.limits.limit_end_users]
    ids = [account.id for account in limiting]
    found = {row["id"]: row for row in await fetch_named(tx, _OF_END_USER, ids, *days, end_user)}
    return balances + [
        _balance(end_user_account(account, end_user), found[account.id], day, zone)
        for account in limiting
    ]


def _current(account: Account, row: Row) -> Account:
    """With the limits of purchases and the pause that are in the state now."""
    limits = replace(account.limits, **{name: row[name] for name in _LIMITS})
    return replace(account, limits=limits, paused=bool(row["paused"]))


@functools.lru_cache(8)
def _edges(day: str, zone: tzinfo) -> tuple[str, ...]:
    """The first and the last days of all weeks, then of all months, that hold `day`.

    Each text has ten characters for every weekday, or day of the month, on which one can begin.
    """
    periods: tuple[tuple[Period, int], ...] = (("week", 7), ("month", 28))
    return tuple(
        "".join(getattr(window(period, day, zone, shift), edge) for shift in range(shifts))
        for period, shifts in periods
        for edge in ("first_day", "last_day")
    )


def _balance(account: Account, row: Row, day: str, zone: tzinfo) -> Balance:
    limits = account.limits
    return Balance(
        account=account,
        **{name: row[name] for name in _AMOUNTS},
        window=budget_window(limits, day, zone),
        period=limits.budget_period or TOTAL,
        granted_nanos=row["granted_nanos"],
        picture_nanos=row["picture_nanos"],
    )
