"""The table `accounts`: reads and changes, each change with its audit row.

Every change takes the change's number, reads, decides, writes, and appends to the audit. The lock
of that number serialises changes over all processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.accounts.rules.account_settings import (
    FIELDS,
    AccountSettings,
    settings_as_json,
    settings_from,
    value_in,
)
from gateway.accounts.rules.errors import AccountEnded, NotFound
from gateway.accounts.rules.field_types import is_text
from gateway.accounts.tables.audit import Author, append, next_change
from gateway.database.database import Row, Transaction, Value
from gateway.model.caller import LEVELS, Account, Level

Edit = Callable[[AccountSettings], AccountSettings]
_FIXED = ("id", "level", "parent", "name", "change", "created_ms", "created_by", "ended_ms")
_CHANGING = ("paused", *(field.column for field in FIELDS))
COLUMNS = ", ".join((*_FIXED, *_CHANGING))
_RANKS: Mapping[str, int] = {level: rank for rank, level in enumerate(LEVELS, 1)}
_RANK = "CASE level WHEN 'organisation' THEN 1 WHEN 'team' THEN 2 ELSE 3 END"
_BUDGETS = (
    f"SELECT {COLUMNS} FROM accounts WHERE ended_ms IS NULL AND budget_nanos IS NOT NULL "
    "AND ($1 = '' OR id = $1 OR parent = $1) AND NOT EXISTS "
    "(SELECT 1 FROM accounts p WHERE p.id = accounts.parent AND p.ended_ms IS NOT NULL) "
    f"AND ({_RANK}, id) > (CAST($2 AS BIGINT), $3) ORDER BY {_RANK}, id LIMIT $4"
)
_PLACEHOLDERS = ", ".join(f"${index}" for index in range(1, len(_FIXED) + len(_CHANGING) + 1))
_ASSIGNMENTS = ", ".join(f"{column} = ${index}" for index, column in enumerate(_CHANGING, start=4))
"""Of an UPDATE whose parameters $1 to $3 are its own, with the values of `_values_of`."""


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """The organisation, a team or a key as the state keeps it.

    `id` is "organisation", "team:NAME" or "key:ID", `parent` the id of the account above.
    `ended_ms` is when the team was archived or the key revoked, `change` its last change,
    `created_by` who made it, by the name that the audit has.
    """

    id: str
    level: Level
    parent: str | None
    name: str
    settings: AccountSettings
    paused: bool = False
    change: int = 0
    created_ms: int = 0
    created_by: str = ""
    ended_ms: int | None = None

    @property
    def account(self) -> Account:
        """What limits need to know of it."""
        return Account(self.id, self.level, self.name, self.settings.limits, self.paused)

    def facts(self) -> dict[str, object]:
        """Its settings and whether it is paused, by their public names, as JSON can hold them."""
        facts = settings_as_json(self.settings, self.level)
        return facts if self.level == "key" else {**facts, "paused": self.paused}


def record_of(row: Row) -> AccountRecord:
    """The record of a row of `COLUMNS`."""
    columns = {column: row[column] for column in _FIXED}
    return AccountRecord(**columns, settings=_settings_of(row), paused=bool(row["paused"]))


def _values_of(record: AccountRecord) -> tuple[Value, ...]:
    """The values of `paused` and of every field, in the order of `COLUMNS`."""
    values = [(field.type, value_in(record.settings, field)) for field in FIELDS]
    return int(record.paused), *(None if v is None else type_.as_column(v) for type_, v in values)


def _settings_of(row: Row) -> AccountSettings:
    values = [(field, row[field.column]) for field in FIELDS]
    return settings_from(
        {f.column: None if value is None else f.type.from_column(value) for f, value in values}
    )


async def account_by_id(tx: Transaction, account_id: str) -> AccountRecord:
    """The account of that id. Raises NotFound."""
    if is_text(account_id):  # an engine takes no other text
        sql = f"SELECT {COLUMNS} FROM accounts WHERE id = $1"
        for row in await tx.fetch(sql, account_id):
            return record_of(row)
    level, _, name = account_id.partition(":")
    raise NotFound(f"There is no {level} {name!r}.", level)


async def team_in_use(tx: Transaction, name: str) -> AccountRecord:
    """The team of that name. Raises NotFound, and Ended where it is archived."""
    record = await account_by_id(tx, f"team:{name}")
    if record.ended_ms is not None:
        raise AccountEnded(
            f"The team {name!r} is archived: archived teams can't be changed.", "team"
        )
    return record


async def list_accounts(
    tx: Transaction, level: Level, *, parent: str | None, ended: bool, after: str, limit: int
) -> Sequence[AccountRecord]:
    """Accounts of a level in the order of their ids, from above the id `after`."""
    rows = await tx.fetch(
        f"SELECT {COLUMNS} FROM accounts "
        "WHERE level = $1 AND (parent = $2 OR $2 = '') AND (ended_ms IS NULL OR $3 = 'ended') "
        "AND id > $4 ORDER BY id LIMIT $5",
        *(level, parent or "", "ended" if ended else "", after, limit),
    )
    return [record_of(row) for row in rows]


async def list_budgets(
    tx: Transaction, *, team: str | None = None, after: str = "", limit: int
) -> Sequence[AccountRecord]:
    """Accounts with a budget: the organisation, teams, then keys; from above the id `after`.

    Of a team if one is given: it and its keys. Raises NotFound for an unknown one.
    """
    rank = _RANKS.get(after.partition(":")[0], 0)
    parent = "" if team is None else (await account_by_id(tx, f"team:{team}")).id
    rows = await tx.fetch(_BUDGETS, parent, rank, after, limit)
    return [record_of(row) for row in rows]


async def insert(tx: Transaction, new: AccountRecord, action: str, by: Author) -> AccountRecord:
    """Add an account. Raises Conflict where its id or its name is taken."""
    change = await next_change(tx)
    made = replace(new, change=change, created_ms=by.now_ms, created_by=by.actor)
    await tx.fetch(
        f"INSERT INTO accounts ({COLUMNS}) VALUES ({_PLACEHOLDERS})",
        *(getattr(made, column) for column in _FIXED),
        *_values_of(made),
    )
    await append(tx, by, action, made.id, {}, {"name": made.name, **set_values(made.facts())})
    return made


async def save(
    tx: Transaction, old: AccountRecord, new: AccountRecord, action: str, by: Author
) -> AccountRecord:
    """Write an account if it has changed."""
    if new == old:
        return old
    change = await next_change(tx)
    await tx.fetch(
        f"UPDATE accounts SET change = $2, ended_ms = $3, {_ASSIGNMENTS} WHERE id = $1",
        *(new.id, change, new.ended_ms),
        *_values_of(new),
    )
    await append(tx, by, action, new.id, _audited(old), _audited(new))
    return replace(new, change=change)


async def mark_changed(tx: Transaction, record: AccountRecord) -> AccountRecord:
    """Give an account the number of this change, as one of its secrets has changed."""
    change = await next_change(tx)
    await tx.fetch("UPDATE accounts SET change = $2 WHERE id = $1", record.id, change)
    return replace(record, change=change)


def _audited(record: AccountRecord) -> dict[str, object]:
    return {**record.facts(), "ended": record.ended_ms is not None}


def set_values(document: Mapping[str, object]) -> dict[str, object]:
    """The settings that are set, to report of a new account. A limit of 0 is set."""
    return {
        name: value
        for name, value in document.items()
        if value is not None and value is not False and value not in ("", {})
    }
