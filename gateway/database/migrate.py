"""Migrates the state's tables to this version's schema.

Migrations are numbered files of plain SQL, each applied once. One exclusive transaction applies
all that are missing; a process that starts at the same time waits and finds none missing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from gateway.database.database import Database, Transaction

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_END = re.compile(r";[ \t]*$", re.MULTILINE)


class SchemaTooNew(Exception):
    """The state was written by a newer version of the gateway than this one."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"The state's schema is at version {found}, and this version of the gateway knows "
            f"up to {known}: it was used by a newer gateway. Run that one, or restore a backup."
        )


class SchemaTooOld(Exception):
    """The state has yet to be migrated to this version's schema."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(
            f"The state's schema is at version {found}, and this version of the gateway needs "
            f"{needed}. Make a backup (gateway state backup FILE), then run: gateway state migrate"
        )


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema and its statements, in order."""

    number: int
    name: str
    statements: tuple[str, ...]


def statements_of(text: str) -> tuple[str, ...]:
    """The statements of a migration's text: each ends with `;` at the end of a line."""
    parts = (part.strip() for part in _END.split(_COMMENT.sub("", text)))
    return tuple(part for part in parts if part)


@cache
def known_migrations() -> tuple[Migration, ...]:
    """The migrations of this version, in order."""
    found: list[Migration] = []
    for file in resources.files("gateway.database").joinpath("migrations").iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), match[2], statements_of(text)))
    return tuple(sorted(found, key=lambda migration: migration.number))


async def migrate(database: Database, migrations: Sequence[Migration] | None = None) -> int:
    """Apply missing migrations. Returns the schema's version afterwards.

    Raises SchemaTooNew if the state is newer than the code, and StateUnavailable.
    """
    steps = known_migrations() if migrations is None else tuple(migrations)

    async def apply(tx: Transaction) -> int:
        return await apply_missing(tx, steps)

    return await database.exclusive(apply)


async def missing_migrations(tx: Transaction) -> Sequence[Migration]:
    """The migrations that the state has yet to get. Raises SchemaTooNew."""
    found, steps = await schema_version(tx), known_migrations()
    if found > steps[-1].number:
        raise SchemaTooNew(found, steps[-1].number)
    return steps[found:]


async def check_schema(tx: Transaction) -> None:
    """Raises SchemaTooOld or SchemaTooNew unless the state has this version's schema."""
    if missing := await missing_migrations(tx):
        raise SchemaTooOld(missing[0].number - 1, missing[-1].number)


async def schema_version(tx: Transaction) -> int:
    """The number of the last migration applied, or 0."""
    rows = await tx.fetch("SELECT MAX(number) AS number FROM schema_migrations")
    return int(rows[0]["number"] or 0)


async def begun_version(tx: Transaction) -> int:
    """The same; creates the table of versions if it is missing."""
    await tx.fetch(
        "CREATE TABLE IF NOT EXISTS schema_migrations "
        "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, at_ms BIGINT NOT NULL)"
    )
    return await schema_version(tx)


async def apply_missing(tx: Transaction, steps: Sequence[Migration]) -> int:
    """Apply missing `steps`. Returns the version afterwards. Raises SchemaTooNew."""
    version = await begun_version(tx)
    known = steps[-1].number if steps else 0
    if version > known:
        raise SchemaTooNew(version, known)
    for step in steps:
        if step.number > version:
            for statement in step.statements:
                await tx.fetch(statement)
            await tx.fetch(
                "INSERT INTO schema_migrations (number, name, at_ms) VALUES ($1, $2, $3)",
                *(step.number, step.name, time.time_ns() // 1_000_000),
            )
    return max(version, known)
