"""Copies the whole state, as rows, from one database into another, of either engine.

The migrations name the tables, so that none can be forgotten. Rows are read from one snapshot,
in parts, in the order of their primary keys.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.database.database import Transaction, Value
from gateway.database.migrate import (
    Migration,
    SchemaTooNew,
    apply_missing,
    begun_version,
    known_migrations,
    schema_version,
)
from gateway.database.multirow import insert_rows, placeholders

PART_ROWS = 2000
_CREATED = re.compile(r"CREATE TABLE (\w+)\s*(.*)", re.DOTALL)
_DROPPED = re.compile(r"DROP TABLE (\w+)")
_KEY_OF_TABLE = re.compile(r"PRIMARY KEY \(([^)]*)\)")
_KEY_OF_COLUMN = re.compile(r"(\w+) \w+ PRIMARY KEY")
_HISTORY = frozenset({"audit", "ledger", "reservations", "usage_rows"})
"""If these are empty, no key was ever created and no request was ever made."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class NotEmpty(Exception):
    """The database already holds a state; nothing was changed."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"That database already holds a state in use (schema version {version}). "
            "Restore into a new file, or an empty database or schema."
        )


class IncompleteBackup(Exception):
    """The backup is not complete; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the state and the columns of its primary key."""

    name: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """Some rows of one table, each in the order of `columns`."""

    table: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]


class Sink(Protocol):
    """The destination of the rows. `begin` is called again if the read starts over."""

    def begin(self, schema: int) -> None: ...

    def add(self, part: CopiedTable) -> None: ...


@dataclass(frozen=True, slots=True)
class Backup:
    """The schema's version, the parts, and the number of rows of each table."""

    schema: int
    parts: Callable[[], Iterable[CopiedTable]]
    rows: Callable[[], dict[str, int]]


def tables_of(migrations: Sequence[Migration]) -> tuple[Table, ...]:
    """The tables that exist after these migrations, in order of their names."""
    found: dict[str, Table] = {}
    for statement in (each for step in migrations for each in step.statements):
        if created := _CREATED.match(statement):
            found[created[1]] = Table(created[1], _key_of(created[2]))
        elif dropped := _DROPPED.match(statement):
            found.pop(dropped[1], None)
    return tuple(found[name] for name in sorted(found))


def _key_of(columns: str) -> tuple[str, ...]:
    if found := _KEY_OF_TABLE.search(columns):
        return tuple(name.strip() for name in found[1].split(","))
    return tuple(_KEY_OF_COLUMN.findall(columns))


async def read_state(tx: Transaction, sink: Sink) -> dict[str, int]:
    """Pass every row of the state to `sink`; returns the number of rows by table.

    Raises SchemaTooNew if the state was written by a newer version.
    """
    version, known = await schema_version(tx), known_migrations()
    if version > len(known):
        raise SchemaTooNew(version, len(known))
    sink.begin(version)
    return {table.name: await _read(tx, table, sink) for table in tables_of(known[:version])}


async def _read(tx: Transaction, table: Table, sink: Sink) -> int:
    """Read in parts; each one begins after the last key of the one before."""
    key, last, count = ", ".join(table.key), (), 0
    while True:
        after = f"WHERE ({key}) > {placeholders(len(last))}" if last else ""
        rows = await tx.fetch(
            f"SELECT * FROM {table.name} {after} ORDER BY {key} LIMIT {PART_ROWS}", *last
        )
        if not rows:
            return count
        count += len(rows)
        columns = list(rows[0])
        sink.add(
            CopiedTable(table.name, columns, [[row[name] for name in columns] for row in rows])
        )
        last = tuple(rows[-1][name] for name in table.key)


async def write_state(tx: Transaction, backup: Backup) -> dict[str, int]:
    """Restore a backup into an empty database, then migrate it to this version's schema.

    Returns the number of rows by table. Raises NotEmpty, IncompleteBackup, SchemaTooNew.
    """
    known = known_migrations()
    await _make_empty(tx, known)
    if backup.schema > len(known):
        raise SchemaTooNew(backup.schema, len(known))
    await apply_missing(tx, known[: backup.schema])
    names = [table.name for table in tables_of(known[: backup.schema])]
    for name in names:  # migrations insert first rows into some
        await tx.fetch(f"DELETE FROM {name}")
    written = Counter(dict.fromkeys(names, 0))
    for part in backup.parts():
        await _write(tx, part, names)
        written[part.table] += len(part.rows)
    if written != backup.rows():
        raise IncompleteBackup("the backup does not hold as many rows as its end says")
    await apply_missing(tx, known)
    return dict(written)


async def _make_empty(tx: Transaction, known: Sequence[Migration]) -> None:
    """Drop a state that was never used, such as `gateway init` creates."""
    version = await begun_version(tx)
    if version > len(known):
        raise NotEmpty(version)
    tables = tables_of(known[:version])
    for table in tables:
        if table.name in _HISTORY and await tx.fetch(f"SELECT 1 AS one FROM {table.name} LIMIT 1"):
            raise NotEmpty(version)
    for table in tables:
        await tx.fetch(f"DROP TABLE {table.name}")
    await tx.fetch("DELETE FROM schema_migrations")


async def _write(tx: Transaction, part: CopiedTable, names: Sequence[str]) -> None:
    if part.table not in names or not all(map(_NAME.fullmatch, part.columns)):
        raise IncompleteBackup(
            f"the backup names {part.table!r}, which is not a table of its version"
        )
    await insert_rows(tx, f"INSERT INTO {part.table} ({', '.join(part.columns)})", part.rows)
