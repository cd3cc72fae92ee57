"""The whole state read out of one engine and written into the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.tables import keys, teams
from gateway.accounts.tables.audit import Author
from gateway.database import copying
from gateway.database.copying import (
    Backup,
    CopiedTable,
    IncompleteBackup,
    NotEmpty,
    read_state,
    tables_of,
    write_state,
)
from gateway.database.database import Database, Row, Transaction
from gateway.database.migrate import SchemaTooNew, known_migrations, migrate, schema_version
from gateway.ledger.tables import corrections, verify
from tests.support.databases import open_engine
from tests.support.engines import fresh_schema
from tests.support.funds import CENT, NOW_MS, Till

OF_ENGINE = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgres": "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables "
    "WHERE schemaname = current_schema()",
}


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.schema = 0
        self.parts: list[CopiedTable] = []

    def begin(self, schema: int) -> None:
        self.schema, self.parts = schema, []

    def add(self, part: CopiedTable) -> None:
        self.parts.append(part)

    def rows(self) -> dict[str, list[Sequence[Any]]]:
        """By table, sorted, the columns in the order of their names."""
        found: dict[str, list[Sequence[Any]]] = {}
        for part in self.parts:
            order = sorted(range(len(part.columns)), key=lambda index: part.columns[index])
            for row in part.rows:
                found.setdefault(part.table, []).append([row[index] for index in order])
        return {name: sorted(rows, key=repr) for name, rows in found.items()}


async def kept_of(database: Database) -> tuple[Kept, Backup]:
    kept = Kept()
    counts = await database.read(lambda tx: read_state(tx, kept))
    return kept, Backup(kept.schema, lambda: kept.parts, lambda: counts)


@pytest.fixture
def other_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    """An empty database of the engine that `database` is not."""
    if database_url.startswith("sqlite:"):
        return fresh_schema(request.getfixturevalue("postgres_url"))
    return f"sqlite:{tmp_path / 'other' / 'gateway.db'}"


@pytest.fixture
async def other(other_url: str) -> AsyncIterator[Database]:
    engine = open_engine(other_url)
    yield engine
    await engine.close()


async def fill(database: Database) -> None:
    """Accounts, a key, calls that were settled, corrected, estimated, and one in flight."""
    by = Author("root", NOW_MS, "ein Grund: „wichtig“ 🖼")

    async def people(tx: Transaction) -> None:
        await teams.create_team(tx, "design", AccountSettings(unlimited=True, owner="Åsa"), by)
        await keys.create_key(
            tx, "design", "site", AccountSettings(tags={"project": "α"}), by, secret="s" * 20
        )

    await database.write(people)
    till = await Till(database).open()
    for number in range(7):
        await till.reserve(f"r{number}")
        await till.settle(f"r{number}", CENT * number if number else None)
    await database.write(lambda tx: corrections.correct(tx, "req-r3", CENT, by))
    await till.reserve("held")


async def test_a_state_that_is_moved_to_the_other_engine_is_the_same_row_for_row(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PART_ROWS", 3)  # so that tables take several parts
    await fill(database)
    kept, backup = await kept_of(database)
    written = await other.exclusive(lambda tx: write_state(tx, backup))
    again, _ = await kept_of(other)

    assert again.rows() == kept.rows()
    assert written["ledger"] == 8
    assert written["reservations"] == 1
    assert max(len(part.rows) for part in kept.parts) == 3
    verified = await other.read(verify.verify)
    assert not verified.differences
    # It goes on where it stopped: numbers of changes are taken up, the call in flight is settled.
    till = Till(other)
    await till.settle("held", CENT)
    by = Author("root", NOW_MS)
    await other.write(
        lambda tx: teams.create_team(tx, "press", AccountSettings(unlimited=True), by)
    )
    await till.proven()


async def test_the_tables_are_those_that_the_engine_has(
    database: Database, database_url: str
) -> None:
    kind = "sqlite" if database_url.startswith("sqlite:") else "postgres"
    rows = await database.read(lambda tx: tx.fetch(OF_ENGINE[kind]))
    there = {row["name"] for row in rows if not row["name"].startswith("sqlite_")}
    tables = tables_of(known_migrations())
    assert {table.name for table in tables} | {"schema_migrations"} == there
    if kind == "sqlite":
        for table in tables:
            columns = await database.read(partial(_columns, table.name))
            key = sorted((row["pk"], row["name"]) for row in columns if row["pk"])
            assert table.key == tuple(name for _, name in key)


async def _columns(table: str, tx: Transaction) -> Sequence[Row]:
    return await tx.fetch(f"PRAGMA table_info({table})")


async def test_a_state_is_never_written_over(database: Database, other: Database) -> None:
    await fill(database)
    _, backup = await kept_of(database)
    with pytest.raises(NotEmpty, match="That database already holds a state"):
        await database.exclusive(lambda tx: write_state(tx, backup))
    assert (await database.read(verify.verify)).differences == ()


async def test_a_state_in_which_nothing_has_happened_counts_as_empty(
    database: Database, other: Database
) -> None:
    await fill(database)
    kept, backup = await kept_of(database)
    await migrate(other)  # as `gateway check` does
    await other.exclusive(lambda tx: write_state(tx, backup))
    again, _ = await kept_of(other)
    assert again.rows() == kept.rows()


async def test_a_backup_of_an_earlier_version_is_brought_up_to_this_one(
    empty_database: Database, other: Database
) -> None:
    await migrate(empty_database, known_migrations()[:4])
    await empty_database.write(
        lambda tx: tx.fetch("INSERT INTO notes (name, body, at_ms) VALUES ('n', 'b', 1)")
    )
    kept, backup = await kept_of(empty_database)
    assert kept.schema == 4

    written = await other.exclusive(lambda tx: write_state(tx, backup))
    assert written["notes"] == 1
    assert await other.read(schema_version) == known_migrations()[-1].number
    assert (await other.read(verify.verify)).differences == ()


async def test_what_a_newer_version_has_written_is_refused(
    database: Database, other: Database
) -> None:
    _, backup = await kept_of(database)
    newer = replace(backup, schema=len(known_migrations()) + 1)
    with pytest.raises(SchemaTooNew):
        await other.exclusive(lambda tx: write_state(tx, newer))
    await database.write(
        lambda tx: tx.fetch(
            "INSERT INTO schema_migrations (number, name, at_ms) VALUES (999, 'x', 1)"
        )
    )
    with pytest.raises(SchemaTooNew):
        await database.read(lambda tx: read_state(tx, Kept()))


async def test_a_backup_that_lacks_rows_or_names_no_table_leaves_nothing_behind(
    database: Database, other: Database
) -> None:
    await fill(database)
    kept, backup = await kept_of(database)
    lacking = replace(backup, parts=lambda: kept.parts[1:])
    odd = CopiedTable("accounts; --", kept.parts[0].columns, kept.parts[0].rows)
    for broken in (lacking, replace(backup, parts=lambda: [odd])):
        with pytest.raises(IncompleteBackup):
            await other.exclusive(partial(_written, broken))
    # It is empty still.
    assert await other.exclusive(lambda tx: write_state(tx, backup))


async def _written(backup: Backup, tx: Transaction) -> dict[str, int]:
    return await write_state(tx, backup)
