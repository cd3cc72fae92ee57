"""What the ledger keeps of an end user, and how it forgets one.

The money stays, under the name FORGOTTEN. Each day is forgotten in a transaction of its own, after
which every sum still is that of its rows; broken off, it goes on with the days that are left.
Request ids and fingerprints stay in the ledger: months that are closed are sealed with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accounts.rules.end_users import FORGOTTEN
from gateway.database.database import Row, Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.tables import end_users, rollups
from gateway.ledger.tables.balances import BalanceChange, book
from gateway.ledger.tables.rollups import Dimensions, Sums

_OF_TEAM = "(team = $1 OR $1 = '') AND end_user IN {names}"
_PAID = (
    "SELECT team, key_id, CAST(SUM(CASE WHEN kind = 'call' THEN 1 ELSE 0 END) AS BIGINT) AS calls, "
    "CAST(SUM(images) AS BIGINT) AS images, CAST(SUM(cost_nanos) AS BIGINT) AS spent_nanos, "
    "MIN(at_ms) AS first_ms, MAX(at_ms) AS last_ms "
    f"FROM ledger WHERE {_OF_TEAM} GROUP BY team, key_id ORDER BY team, key_id"
)
_REQUESTS = f"SELECT COUNT(*) AS requests FROM usage_rows WHERE {_OF_TEAM}"
_HELD = (
    "SELECT COUNT(*) AS calls, CAST(COALESCE(SUM(ceiling_nanos), 0) AS BIGINT) AS nanos "
    f"FROM reservations WHERE {_OF_TEAM}"
)
_BOUGHT = (
    "SELECT fingerprint, request_id, MAX(at_ms) AS at_ms FROM ledger "
    f"WHERE kind = 'call' AND fingerprint <> '' AND {_OF_TEAM} "
    "GROUP BY fingerprint, request_id ORDER BY fingerprint, request_id"
)
_USED_BY_OTHERS = (
    "SELECT fingerprint, COUNT(*) AS uses FROM usage_rows WHERE outcome IN ('hit', 'coalesced') "
    "AND end_user NOT IN {names} AND fingerprint IN "
    "(SELECT fingerprint FROM ledger WHERE (team = $1 OR $1 = '') AND end_user IN {names}) "
    "GROUP BY fingerprint"
)
_DAYS = (
    f"SELECT day FROM ledger WHERE {_OF_TEAM} UNION SELECT day FROM usage_rows WHERE {_OF_TEAM} "
    "ORDER BY day"
)
_ROWS = "SET end_user = $1 WHERE end_user = $2 AND day = $3 AND (team = $4 OR $4 = '')"
_RENAME_CALLS = f"UPDATE ledger {_ROWS} RETURNING team, key_id, cost_nanos, images, budget_day"
_RENAME_REQUESTS = f"UPDATE usage_rows {_ROWS.replace('$1', '$1, aside = $5', 1)} RETURNING id"
_TAKE_SUMS = (
    "DELETE FROM rollups WHERE end_user = $1 AND day = $2 AND (team = $3 OR $3 = '') "
    f"RETURNING {', '.join((*Dimensions._fields, *rollups.COLUMNS))}"
)
_DROP_REFUSALS = (
    "DELETE FROM flights WHERE code = 'upstream_refused' AND request_id IN "
    f"(SELECT request_id FROM ledger WHERE {_OF_TEAM} "
    f"UNION SELECT request_id FROM usage_rows WHERE {_OF_TEAM})"
)
_ENROLLED = f"SELECT DISTINCT team FROM end_users WHERE {_OF_TEAM.replace('end_user', 'name')}"
_DROP_EMPTY = (
    "DELETE FROM balances WHERE account LIKE 'user:%' "
    "AND SUBSTR(account, LENGTH(account) - LENGTH(CAST($1 AS TEXT))) = '/' || CAST($1 AS TEXT) "
    "AND spent_nanos = 0 AND held_nanos = 0 AND images = 0 AND images_held = 0"
)


@dataclass(frozen=True, slots=True)
class PaidFor:
    """The calls that one key of a team paid for, for one end user."""

    team: str
    key_id: str
    calls: int
    images: int
    spent_nanos: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class BoughtEdit:
    """An edit that was bought for an end user. Its result may be stored under `fingerprint`."""

    fingerprint: str
    request_id: str
    at_ms: int
    used_by_others: int
    """Later requests that others made for it, as far as single requests are kept."""


@dataclass(frozen=True, slots=True)
class KeptOfUser:
    """What the state keeps of an end user. `requests` are single ones; `in_flight` are calls."""

    paid: Sequence[PaidFor]
    bought: Sequence[BoughtEdit]
    requests: int
    in_flight: int
    held_nanos: int


async def kept_of(tx: Transaction, names: Sequence[str], team: str | None) -> KeptOfUser:
    """What is kept of the person with these names, in one team or in all."""
    paid = await fetch_named(tx, _PAID, names, team or "")
    bought = await fetch_named(tx, _BOUGHT, names, team or "")
    others = {
        row["fingerprint"]: row["uses"]
        for row in await fetch_named(tx, _USED_BY_OTHERS, names, team or "")
    }
    (requests,) = await fetch_named(tx, _REQUESTS, names, team or "")
    (held,) = await fetch_named(tx, _HELD, names, team or "")
    return KeptOfUser(
        [PaidFor(**row) for row in paid],
        [BoughtEdit(**row, used_by_others=others.get(row["fingerprint"], 0)) for row in bought],
        requests["requests"],
        held["calls"],
        held["nanos"],
    )


async def days_of(tx: Transaction, names: Sequence[str], team: str | None) -> list[str]:
    """The days in which something is kept of this person."""
    return [row["day"] for row in await fetch_named(tx, _DAYS, names, team or "")]


async def drop_remembered_refusals(tx: Transaction, names: Sequence[str], team: str | None) -> None:
    """Delete the upstream's refusals of this person's edits. Failures that may have cost stay."""
    await fetch_named(tx, _DROP_REFUSALS, names, team or "")


async def forget_day(tx: Transaction, names: Sequence[str], team: str | None, day: str) -> None:
    """Move the rows and the sums of a day to FORGOTTEN. Locks in the order of a booking."""
    moves: list[BalanceChange] = []
    for name in names:
        of_day = (FORGOTTEN, name, day, team or "")
        for row in await tx.fetch(_RENAME_CALLS, *of_day):
            moves += _moved(row, name, day)
        await tx.fetch(_RENAME_REQUESTS, *of_day, "")
        sums = await tx.fetch(_TAKE_SUMS, name, day, team or "")
        await rollups.add_to_users(tx, [(day, *_forgotten(row)) for row in sums])
    if moves:
        await book(tx, moves)


def _moved(row: Row, name: str, day: str) -> Sequence[BalanceChange]:
    payer = (row["team"], row["key_id"], row["budget_day"] or day)
    nanos, images = row["cost_nanos"], row["images"]
    return (
        BalanceChange(*payer, spent_nanos=-nanos, images=-images, end_user=name),
        BalanceChange(*payer, spent_nanos=nanos, images=images, end_user=FORGOTTEN),
    )


def _forgotten(row: Row) -> tuple[Dimensions, Sums]:
    dimensions = Dimensions(**{name: row[name] for name in Dimensions._fields})
    sums = Sums(**{name: row[name] for name in rollups.COLUMNS})
    return dimensions._replace(end_user=FORGOTTEN), sums


async def drop_accounts(tx: Transaction, names: Sequence[str], team: str | None) -> None:
    """Delete what is left of a person of whom no call is kept: the empty accounts."""
    rows = await fetch_named(tx, _ENROLLED, names, team or "")
    for found in sorted(row["team"] for row in rows):
        await end_users.lock_team(tx, found)
        await end_users.remove(tx, found, names)
    for name in names:
        await tx.fetch(_DROP_EMPTY, name)
