"""The schema: applied once, together, by whoever comes first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import create_key, revoke_key
from gateway.accounts.tables.teams import create_team
from gateway.database.database import Database, Row, Transaction
from gateway.database.migrate import (
    Migration,
    SchemaTooNew,
    known_migrations,
    migrate,
    schema_version,
    statements_of,
)
from gateway.ledger.tables import corrections, reports
from tests.support.funds import CENT, NOW_MS, TODAY, Till

ONE = Migration(1, "one", ("CREATE TABLE numbers (value BIGINT NOT NULL)",))
TWO = Migration(2, "two", ("INSERT INTO numbers (value) VALUES (2)",))
BROKEN = Migration(2, "broken", ("INSERT INTO numbers (value) VALUES (2)", "NOT SQL"))

PROCESS = """
import asyncio, sys
from gateway.database.migrate import Migration, migrate
from tests.support.databases import open_engine

STEPS = [
    Migration(1, "one", ("CREATE TABLE numbers (value BIGINT NOT NULL)",)),
    Migration(2, "two", ("INSERT INTO numbers (value) VALUES (2)",)),
]

async def main():
    database = open_engine(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.read()
    print(await migrate(database, STEPS), flush=True)
    await database.close()

asyncio.run(main())
"""


async def values(tx: Transaction) -> list[int]:
    return [row["value"] for row in await tx.fetch("SELECT value FROM numbers")]


async def test_each_migration_is_applied_once(empty_database: Database) -> None:
    assert await migrate(empty_database, [ONE]) == 1
    assert await migrate(empty_database, [ONE, TWO]) == 2
    assert await migrate(empty_database, [ONE, TWO]) == 2
    assert await empty_database.read(values) == [2]


async def test_what_was_applied_is_recorded_with_its_time(empty_database: Database) -> None:
    await migrate(empty_database, [ONE])

    async def recorded(tx: Transaction) -> Row:
        return (await tx.fetch("SELECT number, name, at_ms FROM schema_migrations"))[0]

    row = await empty_database.read(recorded)
    assert (row["number"], row["name"]) == (1, "one")
    assert row["at_ms"] > 1_700_000_000_000


async def test_a_broken_migration_leaves_nothing_behind(empty_database: Database) -> None:
    await migrate(empty_database, [ONE])
    with pytest.raises(Exception, match="syntax error"):
        await migrate(empty_database, [ONE, BROKEN])
    assert await empty_database.read(values) == []
    assert await empty_database.read(schema_version) == 1


async def test_a_newer_schema_is_refused_and_said_so(empty_database: Database) -> None:
    await migrate(empty_database, [ONE, TWO])
    with pytest.raises(SchemaTooNew, match=r"version 2, .* up to 1: .* newer gateway"):
        await migrate(empty_database, [ONE])


async def test_processes_that_start_together_migrate_once(
    database_url: str, empty_database: Database
) -> None:
    command = [sys.executable, "-c", PROCESS, database_url]
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    answers = await asyncio.gather(*(asyncio.to_thread(each.communicate, "") for each in started))
    assert [out for out, _ in answers] == ["2\n"] * 4
    assert await empty_database.read(values) == [2]


async def test_the_shipped_migrations_apply_to_an_empty_state(empty_database: Database) -> None:
    assert await migrate(empty_database) == known_migrations()[-1].number


def test_the_shipped_migrations_are_numbered_without_gaps() -> None:
    numbers = [migration.number for migration in known_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


async def _charged_calls(tx: Transaction) -> None:
    """The migration once more: today's code fills no tables of that time."""
    migration = known_migrations()[5]
    assert migration.name == "charged_calls"
    for statement in migration.statements:
        await tx.fetch(statement)


async def test_calls_that_cost_nothing_are_no_longer_counted_as_paid(
    empty_database: Database,
) -> None:
    """A state that an earlier version has kept agrees with its ledger afterwards."""
    await migrate(empty_database)
    till = await Till(empty_database).open()
    for name, cost in (("a", CENT), ("b", 0), ("c", None), ("d", CENT)):
        await till.reserve(name, model="m2" if name == "d" else "m1")
        await till.settle(name, cost)
    by = Author("root", NOW_MS, "")
    await empty_database.write(lambda tx: corrections.correct(tx, "req-a", 0, by))
    await empty_database.write(
        lambda tx: tx.fetch(
            "UPDATE rollups SET paid_calls = CASE model WHEN 'm1' THEN 3 ELSE 1 END"
        )
    )

    await empty_database.exclusive(_charged_calls)
    paid = await empty_database.read(lambda tx: reports.usage_by(tx, "model", TODAY, TODAY))
    assert {line.group: line.paid_calls for line in paid} == {"m1": 1, "m2": 1}
    await till.proven()


async def test_images_are_rolled_up_from_the_ledger(empty_database: Database) -> None:
    await migrate(empty_database)
    till = await Till(empty_database).open()
    for name, model, images in (("a", "m1", 2), ("b", "m1", 1), ("c", "m2", 3)):
        await till.reserve(name, model=model, images=images)
        await till.settle(name)

    async def upgrade(tx: Transaction) -> None:
        await tx.fetch("ALTER TABLE rollups DROP COLUMN images")
        (migration,) = (each for each in known_migrations() if each.name == "rolled_up_images")
        for statement in migration.statements:
            await tx.fetch(statement)

    await empty_database.exclusive(upgrade)
    lines = await empty_database.read(lambda tx: reports.usage_by(tx, "model", TODAY, TODAY))
    assert {line.group: line.images for line in lines} == {"m1": 3, "m2": 3}
    await till.proven()


async def test_accounts_get_their_makers_from_the_audit(empty_database: Database) -> None:
    await migrate(empty_database)

    async def upgraded(tx: Transaction) -> list[str]:
        lead = Author("token:lead", NOW_MS)
        unlimited = change_settings(AccountSettings(), "team", {"unlimited": True})
        await create_team(tx, "design", unlimited, Author("root", NOW_MS))
        key = await create_key(tx, "design", "web", AccountSettings(), lead)
        await revoke_key(tx, key.key.id, Author("root", NOW_MS))
        await tx.fetch("ALTER TABLE accounts DROP COLUMN created_by")
        (migration,) = (each for each in known_migrations() if each.name == "created_by")
        for statement in migration.statements:
            await tx.fetch(statement)
        rows = await tx.fetch("SELECT created_by FROM accounts ORDER BY level")
        return [each["created_by"] for each in rows]

    assert await empty_database.exclusive(upgraded) == ["token:lead", "", "root"]


def test_statements_end_at_a_semicolon_at_a_lines_end() -> None:
    text = "-- a note; with\nCREATE TABLE a (x TEXT DEFAULT ';'\n);\n\nSELECT 1;\n-- end;\n"
    assert statements_of(text) == ("CREATE TABLE a (x TEXT DEFAULT ';'\n)", "SELECT 1")
