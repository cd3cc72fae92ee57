"""`gateway state`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from gateway.cli.options import settings_option
from gateway.cli.output import working
from gateway.cli.state_access import read_state, state_exists, state_name, with_database
from gateway.database import copying
from gateway.database.backup import BackupWriter, open_backup
from gateway.database.database import Database
from gateway.database.migrate import Migration, known_migrations, migrate, missing_migrations
from gateway.ledger.tables import verify
from gateway.settings import Settings

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def state() -> None:
    """Backup, restore, migrate, and move the state to another database."""


@state.command()
@click.argument("file", type=FILE)
@settings_option
def backup(settings: Settings, file: Path) -> None:
    """Write a snapshot of the state to FILE, while gateways keep running.

    FILE has the same format for every database. Keep it as secret as the state: it holds the
    digests of keys, limits and the ledger, but no key and no picture. Results are not in it.
    """
    writer = BackupWriter(file)
    try:
        with working("writing the backup"):
            rows = with_database(settings, lambda it: _read_out(it, writer), any_schema=True)
        writer.finish(rows)
    except OSError as error:
        raise click.UsageError(f"{file} can't be written: {error.strerror}") from None
    finally:
        writer.give_up()
    click.echo(f"{file}: {_counted(rows)}.")


async def _read_out(database: Database, writer: BackupWriter) -> dict[str, int]:
    return await database.read(lambda tx: copying.read_state(tx, writer))


@state.command()
@click.argument("file", type=FILE)
@settings_option
def restore(settings: Settings, file: Path) -> None:
    """Restore a backup into the database of [state] url, which must be empty.

    Restores everything or nothing, then verifies the ledger. No gateway may use the database yet.
    To move from SQLite to PostgreSQL, or back, stop every gateway, make a backup, and restore it
    with the new url.
    """
    try:
        with working("restoring"):
            rows = with_database(settings, lambda it: _write_in(it, file), create=True)
    except (copying.NotEmpty, copying.IncompleteBackup) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{file} can't be read: {error.strerror}") from None
    click.echo(f"Restored {_counted(rows)}.")
    _verify(settings)


async def _write_in(database: Database, file: Path) -> dict[str, int]:
    found = await asyncio.to_thread(open_backup, file)
    return await database.exclusive(lambda tx: copying.write_state(tx, found))


def _verify(settings: Settings) -> None:
    with working("adding up the ledger"):
        found = read_state(settings, verify.verify)
    if found.differences:
        raise click.ClickException("the ledger does not add up; gateway ledger verify says where")
    click.echo("Every balance is what the ledger and the open reservations add up to.")


@state.command("migrate")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--create", is_flag=True, help="Create the state if there is none.")
@settings_option
def migrate_state(settings: Settings, dry_run: bool, create: bool) -> None:
    """Migrate the state to the schema of this version of the gateway.

    `gateway serve` does the same when it starts; other commands never do. Make a backup first:
    an older gateway can't use a migrated state. All missing migrations are applied in one
    transaction, or none.
    """

    async def missing(database: Database) -> Sequence[Migration]:
        if create and not await state_exists(settings, database):
            return known_migrations()
        return await database.read(missing_migrations)

    with working("migrating"):
        steps = with_database(settings, missing, any_schema=True, create=create)
        if steps and not dry_run:
            with_database(settings, migrate, any_schema=True, create=create)
    name, newest = state_name(settings), known_migrations()[-1].number
    if not steps:
        click.echo(f"{name} has schema {newest}; there is nothing to do.")
        return
    verb = "would be" if dry_run else "is"
    click.echo(f"{name} {verb} migrated from schema {steps[0].number - 1} to {newest}:")
    for step in steps:
        click.echo(f"  {step.number:04}_{step.name}")


def _counted(rows: dict[str, int]) -> str:
    return f"{sum(rows.values())} rows in {len(rows)} tables, {rows['ledger']} of the ledger"
