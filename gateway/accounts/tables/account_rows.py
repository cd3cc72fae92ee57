"""The columns of the table `accounts`, and the record of one of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.rules.account_settings import (
    FIELDS,
    AccountSettings,
    settings_as_json,
    settings_from,
    value_in,
)
from gateway.database.database import Row, Value
from gateway.model.caller import Account, Level

_FIXED = ("id", "level", "parent", "name", "change", "created_ms", "ended_ms")
_CHANGING = ("paused", *(field.column for field in FIELDS))
COLUMNS = ", ".join((*_FIXED, *_CHANGING))
PLACEHOLDERS = ", ".join(f"${index}" for index in range(1, len(_FIXED) + len(_CHANGING) + 1))
ASSIGNMENTS = ", ".join(f"{column} = ${index}" for index, column in enumerate(_CHANGING, start=4))
"""Of an UPDATE whose parameters $1 to $3 are its own, with the values of `values_of`."""


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """The organisation, a team or a key as the state keeps it.

    `id` is "organisation", "team:NAME" or "key:ID", `parent` the id of the account above.
    `ended_ms` is when the team was archived or the key revoked, `change` its last change.
    """

    id: str
    level: Level
    parent: str | None
    name: str
    settings: AccountSettings
    paused: bool = False
    change: int = 0
    created_ms: int = 0
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


def values_of(record: AccountRecord) -> tuple[Value, ...]:
    """The values of `paused` and of every field, in the order of `COLUMNS`."""
    values = [(field.type, value_in(record.settings, field)) for field in FIELDS]
    return int(record.paused), *(None if v is None else type_.as_column(v) for type_, v in values)


def _settings_of(row: Row) -> AccountSettings:
    values = [(field, row[field.column]) for field in FIELDS]
    return settings_from(
        {f.column: None if value is None else f.type.from_column(value) for f, value in values}
    )
