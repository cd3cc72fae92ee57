"""Teams: create, change, archive. A team is never renamed or deleted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from gateway.accounts.rules.account_settings import AccountSettings, complete_settings
from gateway.accounts.rules.errors import AlreadyExists, BadValue, NotFound
from gateway.accounts.tables.accounts import (
    AccountRecord,
    Edit,
    account_by_id,
    insert,
    list_accounts,
    save,
    team_in_use,
)
from gateway.accounts.tables.audit import Author, next_change
from gateway.database.database import Transaction
from gateway.model.caller import ORGANISATION

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def create_team(
    tx: Transaction, name: str, settings: AccountSettings, by: Author
) -> AccountRecord:
    """A new team. `settings` are what was asked for, over the defaults of new teams.

    Raises BadValue (also where it has neither a budget nor `unlimited`), AlreadyExists.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise BadValue("A team's name is 1 to 64 of A-Z a-z 0-9 . _ -", "name")
    if name == ORGANISATION:
        raise BadValue(f"{name!r} names the organisation's budget: choose another name.", "name")
    await next_change(tx)
    await _check_free(tx, name)
    complete = complete_settings(settings, "team")
    _check_bounded(name, complete)
    new = AccountRecord(f"team:{name}", "team", ORGANISATION, name, complete)
    return await insert(tx, new, "team.create", by)


async def update_team(tx: Transaction, name: str, edit: Edit, by: Author) -> AccountRecord:
    """Change a team's settings to what `edit` makes of them.

    Raises NotFound, Ended for an archived team, BadValue.
    """
    await next_change(tx)
    old = await team_in_use(tx, name)
    settings = complete_settings(edit(old.settings), "team")
    if _is_bounded(old.settings):  # a team of version 0.1 may rely on the organisation's budget
        _check_bounded(name, settings)
    return await save(tx, old, replace(old, settings=settings), "team.update", by)


async def archive_team(tx: Transaction, name: str, by: Author) -> AccountRecord:
    """End a team: its keys stop working, what it spent stays booked. Raises NotFound.

    A team that is archived already stays as it is.
    """
    await next_change(tx)
    old = await show_team(tx, name)
    if old.ended_ms is not None:
        return old
    return await save(tx, old, replace(old, ended_ms=by.now_ms), "team.archive", by)


async def show_team(tx: Transaction, name: str) -> AccountRecord:
    """The team of that name, archived or not. Raises NotFound."""
    return await account_by_id(tx, f"team:{name}")


async def list_teams(
    tx: Transaction, *, archived: bool = False, after: str = "", limit: int = 1000
) -> Sequence[AccountRecord]:
    """Teams by name, from above the id `after`; archived ones too where asked for."""
    return await list_accounts(tx, "team", parent=None, ended=archived, after=after, limit=limit)


async def unlimited_teams(tx: Transaction) -> Sequence[str]:
    """The names of the teams whose own settings set no budget, for `gateway check`."""
    rows = await tx.fetch(
        "SELECT name FROM accounts WHERE level = 'team' AND ended_ms IS NULL "
        "AND budget_nanos IS NULL ORDER BY name"
    )
    return [str(row["name"]) for row in rows]


async def _check_free(tx: Transaction, name: str) -> None:
    try:
        taken = await show_team(tx, name)
    except NotFound:
        return
    archived = "is archived, and its name is not free: choose another"
    status = "already exists: update it instead" if taken.ended_ms is None else archived
    raise AlreadyExists(f"The team {name!r} {status}.", "name")


def _is_bounded(settings: AccountSettings) -> bool:
    return settings.unlimited or settings.limits.budget_nanos is not None


def _check_bounded(name: str, settings: AccountSettings) -> None:
    if not _is_bounded(settings):
        raise BadValue(
            f"The team {name!r} has no budget: set budget_usd, or unlimited (then only the "
            "organisation's budget applies).",
            "budget_usd",
        )
