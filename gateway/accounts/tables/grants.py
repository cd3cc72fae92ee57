"""Grants: money that raises an account's budget in one window; asked for, granted, ended.

A grant counts from the day on which it is made to its last day, the window's at the latest. The
transaction that reserves money adds the grants to the budget (`ledger/tables/balances.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import tzinfo
from typing import Literal

from gateway.accounts.rules.errors import AccountEnded, AlreadyExists, BadValue, NotFound
from gateway.accounts.rules.field_types import is_text, parse_text
from gateway.accounts.tables.accounts import AccountRecord, account_by_id, mark_changed
from gateway.accounts.tables.audit import Author, append, next_change
from gateway.accounts.tables.keys import show_key
from gateway.database.database import Transaction
from gateway.database.ids import new_id
from gateway.model.caller import ORGANISATION
from gateway.model.money import NANOS, usd
from gateway.model.windows import TOTAL, budget_window, day_of

LARGEST_NANOS = 10**9 * NANOS
"""Of a budget with its grants."""
FOREVER = "9999-12-31"

Status = Literal["asked", "declined", "granted", "revoked"]


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """A grant, or a request for one. `until_day` is the last day as given, if one was.

    `budget` is the account's name: organisation, TEAM or TEAM/KEY.
    `asked_by` is the id of the key that asked, or "". A grant has the `period` and the
    `first_day` of the window that it raises, and the `last_day` on which it counts.
    """

    id: str
    account: str
    budget: str
    nanos: int
    until_day: str | None = None
    reason: str = ""
    asked_by: str = ""
    asked_ms: int | None = None
    granted_by: str = ""
    granted_ms: int | None = None
    period: str = ""
    first_day: str = ""
    last_day: str = ""
    ended_ms: int | None = None

    @property
    def until(self) -> str | None:
        """The last day on which it counts, or as asked for."""
        return self.last_day or self.until_day

    @property
    def cut(self) -> bool:
        """It ends with its window, before the day that was given."""
        return self.until_day is not None and self.last_day < self.until_day

    @property
    def status(self) -> Status:
        if self.granted_ms is None:
            return "asked" if self.ended_ms is None else "declined"
        return "granted" if self.ended_ms is None else "revoked"


_NAMES = tuple(column.name for column in fields(GrantRecord))
_COLUMNS = ", ".join(_NAMES)
_PUT = (
    f"INSERT INTO grants ({_COLUMNS}) "
    f"VALUES ({', '.join(f'${number}' for number in range(1, len(_NAMES) + 1))}) "
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])
)
# A team sees its own grants and those of its keys.
_LIST = (
    f"SELECT {', '.join(f'g.{name}' for name in _NAMES)} "
    "FROM grants g JOIN accounts a ON a.id = g.account "
    "WHERE ($1 = '' OR a.id = $1 OR a.parent = $1) AND (g.ended_ms IS NULL OR $2 = 'ended') "
    "AND g.id > $3 ORDER BY g.id LIMIT $4"
)


async def budget_account(tx: Transaction, name: str) -> AccountRecord:
    """The account of a budget's name: organisation, TEAM or TEAM/KEY.

    Raises NotFound, and AccountEnded where the team is archived or the key revoked.
    """
    if name == ORGANISATION:
        return await account_by_id(tx, ORGANISATION)
    if "/" in name:
        found = (await show_key(tx, name)).account
    else:
        found = await account_by_id(tx, f"team:{name}")
    if found.ended_ms is not None:
        raise AccountEnded(f"The {found.level} {name!r} has ended.", "budget")
    return found


async def grant(
    tx: Transaction, name: str, nanos: int, until_day: str | None, by: Author, zone: tzinfo
) -> GrantRecord:
    """Raise the budget of this name now. Raises NotFound, AccountEnded, BadValue."""
    await next_change(tx)
    account = await budget_account(tx, name)
    made = GrantRecord(new_id("grt_"), account.id, name, nanos, until_day, reason=by.reason)
    return await _raise(tx, account, made, by, zone)


async def ask(
    tx: Transaction,
    budget: str,
    nanos: int,
    until_day: str | None,
    by: Author,
    zone: tzinfo,
    key_id: str = "",
) -> GrantRecord:
    """Ask for a grant. An account has one open request, so that it is reported once.

    Raises BadValue, and AlreadyExists while a request is open.
    """
    await next_change(tx)
    account = await budget_account(tx, budget)
    asked = GrantRecord(
        *(new_id("grt_"), account.id, budget, nanos, until_day, by.reason),
        asked_by=key_id,
        asked_ms=by.now_ms,
    )
    _check(account, asked, day_of(by.now_ms, zone))
    open_requests = await tx.fetch(
        "SELECT id FROM grants WHERE account = $1 AND granted_ms IS NULL AND ended_ms IS NULL",
        account.id,
    )
    if open_requests:
        raise AlreadyExists(
            f"The request {open_requests[0]['id']} for this budget is open: wait for its decision."
        )
    await _put(tx, asked)
    await append(tx, by, "budget.ask", account.id, {}, _audited(asked))
    return asked


async def grant_request(
    tx: Transaction,
    request_id: str,
    by: Author,
    zone: tzinfo,
    *,
    nanos: int | None = None,
    until_day: str | None = None,
) -> GrantRecord:
    """Grant what was asked for, or another amount or day. Raises NotFound, BadValue, …"""
    await next_change(tx)
    asked = await show_grant(tx, request_id)
    if asked.status != "asked":
        raise BadValue(f"The request {request_id} is decided already: it is {asked.status}.", "id")
    account = await account_by_id(tx, asked.account)
    if account.ended_ms is not None:
        raise AccountEnded(f"The {account.level} {account.name!r} has ended.", "id")
    made = replace(asked, nanos=nanos or asked.nanos, until_day=until_day or asked.until_day)
    return await _raise(tx, account, made, by, zone)


async def revoke_grant(tx: Transaction, grant_id: str, by: Author) -> GrantRecord:
    """End a grant, or decline a request; one that has ended stays as it is. Raises NotFound."""
    await next_change(tx)
    found = await show_grant(tx, grant_id)
    if found.ended_ms is not None:
        return found
    ended = replace(found, ended_ms=by.now_ms)
    await _put(tx, ended)
    await mark_changed(tx, await account_by_id(tx, found.account))
    action = "budget.revoke" if found.granted_ms is not None else "budget.decline"
    await append(tx, by, action, found.account, _audited(found), {})
    return ended


async def show_grant(tx: Transaction, grant_id: str) -> GrantRecord:
    """A grant or a request by its id. Raises NotFound."""
    if is_text(grant_id):
        for row in await tx.fetch(f"SELECT {_COLUMNS} FROM grants WHERE id = $1", grant_id):
            return GrantRecord(**row)
    raise NotFound(f"There is no grant or request {grant_id!r}.", "id")


async def list_grants(
    tx: Transaction, *, team: str | None = None, ended: bool = False, after: str = "", limit: int
) -> Sequence[GrantRecord]:
    """Grants and open requests by id, from above `after`; with `ended` those that have ended too.

    A team's are its own and those of its keys. Raises NotFound for an unknown team.
    """
    parent = "" if team is None else (await account_by_id(tx, f"team:{team}")).id
    values = (parent, "ended" if ended else "", after, limit)
    return [GrantRecord(**row) for row in await tx.fetch(_LIST, *values)]


async def _raise(
    tx: Transaction, account: AccountRecord, wanted: GrantRecord, by: Author, zone: tzinfo
) -> GrantRecord:
    limits, today = account.settings.limits, day_of(by.now_ms, zone)
    _check(account, wanted, today)
    window = budget_window(limits, today, zone)
    ends = FOREVER if window.last_day == TOTAL else window.last_day
    made = replace(
        wanted,
        granted_by=by.actor,
        granted_ms=by.now_ms,
        period=limits.budget_period or TOTAL,
        first_day=window.first_day,
        last_day=min(ends, wanted.until_day or ends),
    )
    await _check_sum(tx, account, made)
    await _put(tx, made)
    await mark_changed(tx, account)
    await append(tx, by, "budget.grant", account.id, {}, _audited(made))
    return made


def _check(account: AccountRecord, wanted: GrantRecord, today: str) -> None:
    """Raises BadValue for an account without a budget, or a wrong amount, day or reason."""
    if account.settings.limits.budget_nanos is None:
        raise BadValue(
            f"The {account.level} {account.name!r} has no budget of its own to raise.", "budget"
        )
    if wanted.nanos <= 0:
        raise BadValue("usd takes an amount above 0, such as 20.", "usd")
    if wanted.until_day is not None and wanted.until_day < today:
        raise BadValue(f"until {wanted.until_day} is past: give a day from {today} on.", "until")
    parse_text("reason", wanted.reason)


async def _check_sum(tx: Transaction, account: AccountRecord, made: GrantRecord) -> None:
    rows = await tx.fetch(
        "SELECT CAST(COALESCE(SUM(nanos), 0) AS BIGINT) AS nanos FROM grants WHERE account = $1 "
        "AND period = $2 AND first_day = $3 AND ended_ms IS NULL AND id <> $4",
        *(account.id, made.period, made.first_day, made.id),
    )
    budget = account.settings.limits.budget_nanos or 0
    if budget + rows[0]["nanos"] + made.nanos > LARGEST_NANOS:
        raise BadValue(f"A budget with its grants is at most ${usd(LARGEST_NANOS)}.", "usd")


async def _put(tx: Transaction, record: GrantRecord) -> None:
    await tx.fetch(_PUT, *asdict(record).values())


def _audited(record: GrantRecord) -> dict[str, object]:
    facts = {
        "grant": record.id,
        "budget": record.budget,
        "usd": usd(record.nanos),
        "until": record.until,
        "asked_by": record.asked_by,
    }
    return {name: value for name, value in facts.items() if value}
