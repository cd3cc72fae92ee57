"""Balances: what every account has spent and holds, by day, and how it stands now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.database.database import Row, StateUnavailable, Transaction, Value
from gateway.database.multirow import insert_rows, placeholders
from gateway.model.caller import ORGANISATION, Account, Period
from gateway.model.reservation import Balance
from gateway.model.windows import TOTAL, window


class UnknownAccount(Exception):
    """An account that should pay is not in the state; nothing was booked."""


class DayClosed(StateUnavailable):
    """The day that was to be booked in is closed: this process's clock is behind."""


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """What changes, on the three accounts above and with a key, in one day's books."""

    team: str
    key_id: str
    day: str
    spent_nanos: int = 0
    held_nanos: int = 0
    images: int = 0
    images_held: int = 0


_HEAD = "INSERT INTO balances (account, day, spent_nanos, held_nanos, images, images_held)"
_ADD = (
    "ON CONFLICT (account, day) DO UPDATE SET "
    "spent_nanos = balances.spent_nanos + excluded.spent_nanos, "
    "held_nanos = balances.held_nanos + excluded.held_nanos, "
    "images = balances.images + excluded.images, "
    "images_held = balances.images_held + excluded.images_held"
)

_IN_WINDOW = (
    "FROM balances b WHERE b.account = a.id "
    "AND b.day >= CASE a.budget_period "
    "WHEN 'day' THEN $1 WHEN 'week' THEN $2 WHEN 'month' THEN $3 ELSE 'total' END "
    "AND b.day <= CASE a.budget_period "
    "WHEN 'day' THEN $1 WHEN 'week' THEN $4 WHEN 'month' THEN $5 ELSE 'total' END"
)
_STANDING = (
    "SELECT a.id, a.paused, a.budget_nanos, a.budget_period, a.paid_images_per_day, "
    "COALESCE(d.images, 0) AS images, COALESCE(d.images_held, 0) AS images_held, "
    "(SELECT MAX(last_day) FROM closings) AS closed_through, "
    f"COALESCE((SELECT CAST(SUM(b.spent_nanos) AS BIGINT) {_IN_WINDOW}), 0) AS spent_nanos, "
    f"COALESCE((SELECT CAST(SUM(b.held_nanos) AS BIGINT) {_IN_WINDOW}), 0) AS held_nanos "
    "FROM accounts a LEFT JOIN balances d ON d.account = a.id AND d.day = $1 WHERE a.id IN "
)


def accounts_of(team: str, key_id: str) -> tuple[Account, Account, Account]:
    """The accounts that pay for a key's calls, in the order in which rows are locked."""
    return (
        Account(ORGANISATION, "organisation", ORGANISATION),
        Account(f"team:{team}", "team", team),
        Account(f"key:{key_id}", "key", key_id),
    )


async def book(tx: Transaction, moves: Sequence[BalanceChange]) -> None:
    """Add these moves to the books of their days and to the totals.

    Locks every row it changes until the transaction ends: totals first, and organisation
    before teams before keys, in one statement's order, whatever the order of the moves.
    """
    sums: dict[tuple[int, int, str, str], list[int]] = {}
    for move in moves:
        amounts = (move.spent_nanos, move.held_nanos, move.images, move.images_held)
        for rank, account in enumerate(accounts_of(move.team, move.key_id)):
            for later, day in enumerate((TOTAL, move.day)):
                row = sums.setdefault((later, rank, account.id, day), [0, 0, 0, 0])
                for index, amount in enumerate(amounts):
                    row[index] += amount
    rows: list[tuple[Value, ...]] = []
    for later, rank, account_id, day in sorted(sums):
        rows.append((account_id, day, *sums[later, rank, account_id, day]))
    await insert_rows(tx, _HEAD, rows, _ADD)


async def balances_of(
    tx: Transaction, accounts: Sequence[Account], day: str, zone: tzinfo, *, booked: bool = False
) -> list[Balance]:
    """How these accounts stand in their windows that hold `day`, by the limits as they are now.

    Money is the budget window's, images are the day's. The accounts given back carry the
    state's budget, image limit and pause; the rest of them is as it was given. `booked` says
    that this transaction has just booked in that day. Raises UnknownAccount, and then DayClosed.
    """
    week, month = window("week", day, zone), window("month", day, zone)
    days = (day, week.first_day, month.first_day, week.last_day, month.last_day)
    ids = [account.id for account in accounts]
    found: dict[str, Row] = {}
    for start in range(0, len(ids), 200):
        part = ids[start : start + 200]
        rows = await tx.fetch(_STANDING + placeholders(len(part), 6), *days, *part)
        found.update((row["id"], row) for row in rows)
    if missing := [account for account in ids if account not in found]:
        raise UnknownAccount(f"the state has no account {', '.join(missing)}")
    if booked and any(day <= (row["closed_through"] or "") for row in found.values()):
        raise DayClosed(f"{day} is closed: nothing more is booked in it")
    return [_balance(account, found[account.id], day, zone) for account in accounts]


def _balance(account: Account, row: Row, day: str, zone: tzinfo) -> Balance:
    period: Period = row["budget_period"] or TOTAL
    budget, images, paused = row["budget_nanos"], row["paid_images_per_day"], bool(row["paused"])
    was = account.limits
    if (was.budget_nanos, was.budget_period, was.paid_images_per_day, account.paused) != (
        budget,
        row["budget_period"],
        images,
        paused,
    ):
        limits = replace(
            was,
            budget_nanos=budget,
            budget_period=row["budget_period"],
            paid_images_per_day=images,
        )
        account = replace(account, limits=limits, paused=paused)
    return Balance(
        account=account,
        spent_nanos=row["spent_nanos"],
        held_nanos=row["held_nanos"],
        images=row["images"],
        images_held=row["images_held"],
        resets_ms=window(period, day, zone).resets_ms,
        period=period,
    )
