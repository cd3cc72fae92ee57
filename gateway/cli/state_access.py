"""Access of the commands to the settings, the state and the results."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.accounts.rules.errors import AccountError
from gateway.accounts.tables.audit import Author
from gateway.cache.result_store import StoreUnavailable
from gateway.database.clock import now_ms
from gateway.database.database import Database, Operation, StateUnavailable
from gateway.database.migrate import SchemaTooNew, migrate
from gateway.runtime.backends import open_database
from gateway.settings import Settings, SettingsError, load

Result = TypeVar("Result")


def settings_of(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings. Raises ClickException."""
    try:
        return load(config, overrides=overrides)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def author(reason: str = "") -> Author:
    """The user of this command, now by this machine's clock."""
    return Author(f"cli:{getpass.getuser()}", now_ms(), reason)


def by_clock(settings: Settings, by: Author) -> Author:
    """The author of a change of the books, now by the state's clock."""
    return replace(by, now_ms=clock_of(settings))


def read_state(settings: Settings, operation: Operation[Result]) -> Result:
    """Run one operation in a read transaction of the state, after migrations."""
    return with_database(settings, lambda database: database.read(operation))


def change_state(settings: Settings, operation: Operation[Result]) -> Result:
    """Run one operation in a write transaction of the state, after migrations."""
    return with_database(settings, lambda database: database.write(operation))


def clock_of(settings: Settings) -> int:
    """The time by the state's clock, in unix milliseconds."""
    return with_database(settings, lambda database: database.clock_ms())


def with_database(
    settings: Settings,
    work: Callable[[Database], Awaitable[Result]],
    *,
    migrated: bool = True,
) -> Result:
    """Run `work` on the state's database. Raises ClickException, whose message is one line."""

    async def run() -> Result:
        database = open_database(settings.state)
        try:
            if migrated:
                await migrate(database)
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except (AccountError, SchemaTooNew, SettingsError, StoreUnavailable) as error:
        raise click.ClickException(str(error)) from None
    except StateUnavailable as error:
        raise click.ClickException(f"the state is not available: {error}") from None
