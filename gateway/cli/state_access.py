"""Access of the commands to the settings, the state and the results."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.accounts.rules.errors import AccountError, BadValue
from gateway.accounts.tables.audit import Author
from gateway.database.clock import now_ms
from gateway.database.database import Database, Operation, StateUnavailable
from gateway.database.migrate import SchemaTooNew, SchemaTooOld, check_schema, migrate
from gateway.runtime.backends import open_database, open_prices
from gateway.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from gateway.pricing.rules.ceilings import PriceCeilings

Result = TypeVar("Result")


def settings_of(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings. Raises ClickException."""
    try:
        return load(config, overrides=overrides)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def prices_of(settings: Settings) -> PriceCeilings:
    """The prices. Raises UsageError."""
    try:
        return open_prices(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def author(reason: str = "") -> Author:
    """The user of this command, now by this machine's clock."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return Author(f"cli:{user}", now_ms(), reason)


def by_clock(settings: Settings, by: Author) -> Author:
    """The author of a change of the books, now by the state's clock."""
    return replace(by, now_ms=clock_of(settings))


def read_state(settings: Settings, operation: Operation[Result]) -> Result:
    """Run one operation in a read transaction of the state."""
    return with_database(settings, lambda database: database.read(operation))


def change_state(settings: Settings, operation: Operation[Result]) -> Result:
    """Run one operation in a write transaction of the state."""
    return with_database(settings, lambda database: database.write(operation))


def clock_of(settings: Settings) -> int:
    """The time by the state's clock, in unix milliseconds."""
    return with_database(settings, lambda database: database.clock_ms())


def with_database(
    settings: Settings,
    work: Callable[[Database], Awaitable[Result]],
    *,
    any_schema: bool = False,
    create: bool = False,
) -> Result:
    """Run `work` on the state's database. Raises ClickException, whose message is one line.

    Says on stderr which state it is. Only with `create` may it be one that does not exist yet, and
    only with either option may it have another schema than this version's.
    """

    async def run() -> Result:
        database = open_database(settings.state)
        try:
            if not create:
                await _check_exists(settings, database)
            if not (create or any_schema):
                await database.read(check_schema)
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except BadValue as error:
        raise click.UsageError(str(error)) from None
    except (AccountError, SchemaTooNew, SchemaTooOld, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except StateUnavailable as error:
        raise click.ClickException(f"the state is not available: {error}") from None


def create_state(settings: Settings) -> int:
    """Create the state unless it exists. Returns its schema. Raises ClickException."""

    async def create(database: Database) -> int:
        if await state_exists(settings, database):
            await database.read(check_schema)
        return await migrate(database)

    return with_database(settings, create, create=True)


def state_name(settings: Settings) -> str:
    """The state, as a line for people names it."""
    file = settings.state.sqlite_file
    return f"sqlite:{file.resolve()}" if file else settings.state.printable_url


async def state_exists(settings: Settings, database: Database) -> bool:
    """Does the state exist? A database without the gateway's tables is none."""
    if file := settings.state.sqlite_file:
        if not file.exists():
            return False
        tables = "SELECT 1 AS one FROM sqlite_master WHERE name = 'reservations'"
    else:
        tables = "SELECT 1 AS one WHERE to_regclass('reservations') IS NOT NULL"
    return bool(await database.read(lambda tx: tx.fetch(tables)))


async def _check_exists(settings: Settings, database: Database) -> None:
    if not await state_exists(settings, database):
        raise click.ClickException(
            f"there is no state at {state_name(settings)}. Name the gateway's settings with "
            "--config, or its state with GATEWAY_STATE__URL; `gateway init` creates a new one."
        )
    said = click.get_current_context().find_root().meta
    if not said.setdefault("state was named", False):
        click.echo(f"State: {state_name(settings)}", err=True)
        said["state was named"] = True
