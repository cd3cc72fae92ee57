"""The organisation's settings, and pauses of spending, for all teams or one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.accounts.rules.account_settings import complete_settings
from gateway.accounts.rules.errors import BadValue
from gateway.accounts.tables.accounts import (
    AccountRecord,
    Edit,
    account_by_id,
    save,
    team_in_use,
)
from gateway.accounts.tables.audit import Author, next_change
from gateway.database.database import Transaction
from gateway.model.caller import ORGANISATION


async def show_organisation(tx: Transaction) -> AccountRecord:
    """The organisation, which always exists."""
    return await account_by_id(tx, ORGANISATION)


async def update_organisation(tx: Transaction, edit: Edit, by: Author) -> AccountRecord:
    """Change the organisation's settings to what `edit` makes of them.

    Raises BadValue for a bad limit, and where it takes away the only budget of a team.
    """
    await next_change(tx)
    old = await show_organisation(tx)
    new = replace(old, settings=complete_settings(edit(old.settings), "organisation"))
    if old.settings.limits.budget_nanos is not None and new.settings.limits.budget_nanos is None:
        await _check_teams_have_budgets(tx)
    return await save(tx, old, new, "organisation.update", by)


async def pause(tx: Transaction, by: Author, team: str | None = None) -> AccountRecord:
    """Stop paid calls of a team, or of all. Raises NotFound, AccountEnded."""
    return await _set_paused(tx, by, team, paused=True)


async def resume(tx: Transaction, by: Author, team: str | None = None) -> AccountRecord:
    """Allow paid calls again. Raises NotFound, AccountEnded."""
    return await _set_paused(tx, by, team, paused=False)


async def paused_accounts(tx: Transaction) -> Sequence[str]:
    """The accounts whose spending is paused, in words."""
    rows = await tx.fetch(
        "SELECT level, name FROM accounts WHERE paused = 1 AND ended_ms IS NULL ORDER BY level, id"
    )
    return [f"the team {row['name']}" if row["level"] == "team" else "all teams" for row in rows]


async def accounts_limiting_end_users(tx: Transaction) -> Sequence[str]:
    """The accounts whose own settings limit end users, in words, for `gateway check`."""
    rows = await tx.fetch(
        "SELECT level, name, parent FROM accounts WHERE ended_ms IS NULL AND "
        "(end_user_budget_nanos IS NOT NULL OR end_user_images_per_day IS NOT NULL) "
        "ORDER BY level DESC, parent, name"
    )
    return [
        f"team {row['name']}"
        if row["level"] == "team"
        else f"key {row['parent'].removeprefix('team:')}/{row['name']}"
        for row in rows
    ]


async def _set_paused(
    tx: Transaction, by: Author, team: str | None, *, paused: bool
) -> AccountRecord:
    await next_change(tx)
    old = await (show_organisation(tx) if team is None else team_in_use(tx, team))
    action = f"{old.level}.{'pause' if paused else 'resume'}"
    return await save(tx, old, replace(old, paused=paused), action, by)


async def _check_teams_have_budgets(tx: Transaction) -> None:
    rows = await tx.fetch(
        "SELECT name FROM accounts WHERE level = 'team' AND ended_ms IS NULL "
        "AND unlimited = 0 AND budget_nanos IS NULL ORDER BY name"
    )
    if rows:
        names = ", ".join(row["name"] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        raise BadValue(
            f"These teams have no budget but the organisation's: {names}. Give each a budget, or "
            "set unlimited, first.",
            "budget_usd",
        )
