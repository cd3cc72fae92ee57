"""The state as a whole: a backup under traffic, and what becomes of it in an empty database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from gateway.cli.context import config_option, in_database, settings_of, with_database
from gateway.cli.date_range import working
from gateway.database import copying
from gateway.database.backup import BackupWriter, open_backup
from gateway.database.database import Database
from gateway.ledger.tables import verify
from gateway.settings import Settings

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def state() -> None:
    """The state as a whole: backup, restore, and the move to another database."""


@state.command()
@click.argument("file", type=FILE)
@config_option
def backup(config: Path | None, file: Path) -> None:
    """Write the state as it is at this moment to FILE; gateways go on meanwhile.

    FILE is the same whichever database the state is in. What is in it is as secret as the state:
    keys' digests, limits, the ledger; neither a key nor a picture. Results are not in it.
    """
    settings = settings_of(config)
    writer = BackupWriter(file)
    try:
        with working("writing the backup"):
            rows = with_database(settings, lambda it: _read_out(it, writer), migrated=False)
        writer.finish(rows)
    except OSError as error:
        raise click.ClickException(f"{file} can't be written: {error.strerror}") from None
    finally:
        writer.give_up()
    click.echo(f"{file}: {_told(rows)}.")


async def _read_out(database: Database, writer: BackupWriter) -> dict[str, int]:
    return await database.read(lambda tx: copying.read_out(tx, writer))


@state.command()
@click.argument("file", type=FILE)
@config_option
def restore(config: Path | None, file: Path) -> None:
    """Make the state of a backup in the database that [state] url names, which must be empty.

    All of it or nothing, then the ledger is proven. No gateway may use that database yet. To move
    from SQLite to PostgreSQL, or back, stop every gateway, make a backup, and restore it with the
    new url.
    """
    settings = settings_of(config)
    try:
        with working("restoring"):
            rows = with_database(settings, lambda it: _write_in(it, file), migrated=False)
    except (copying.NotEmpty, copying.NotWhole) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{file} can't be read: {error.strerror}") from None
    click.echo(f"Restored {_told(rows)}.")
    _prove(settings)


async def _write_in(database: Database, file: Path) -> dict[str, int]:
    found = await asyncio.to_thread(open_backup, file)
    return await database.exclusive(lambda tx: copying.write_in(tx, found))


def _prove(settings: Settings) -> None:
    with working("adding up the ledger"):
        found = in_database(settings, verify.verify, read=True)
    if found.differences:
        raise click.ClickException("the ledger does not add up; gateway ledger verify says where")
    click.echo("Every balance is what the ledger and the open reservations add up to.")


def _told(rows: dict[str, int]) -> str:
    return f"{sum(rows.values())} rows in {len(rows)} tables, {rows['ledger']} of the ledger"
