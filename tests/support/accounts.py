"""Short ways to run an operation on accounts in a transaction of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import NewKey, create_key
from gateway.accounts.tables.teams import create_team
from gateway.database.database import Database, Transaction
from gateway.model.caller import Limits

P = ParamSpec("P")
R = TypeVar("R")

NOW = 1_790_000_000_000
BY = Author("root", NOW)
FIVE_DOLLARS = AccountSettings(Limits(budget_nanos=5_000_000_000))


async def change(
    database: Database,
    operation: Callable[Concatenate[Transaction, P], Awaitable[R]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run `operation(tx, …)` in a write."""

    async def run(tx: Transaction) -> R:
        return await operation(tx, *args, **kwargs)

    return await database.write(run)


async def look(
    database: Database,
    operation: Callable[Concatenate[Transaction, P], Awaitable[R]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run `operation(tx, …)` in a read."""

    async def run(tx: Transaction) -> R:
        return await operation(tx, *args, **kwargs)

    return await database.read(run)


async def team_with_key(
    database: Database, team: str = "ops", key: str = "laptop", **terms: Any
) -> NewKey:
    """A team with five dollars a month and one key."""
    await change(database, create_team, team, FIVE_DOLLARS, BY)
    return await change(database, create_key, team, key, AccountSettings(**terms), BY)
