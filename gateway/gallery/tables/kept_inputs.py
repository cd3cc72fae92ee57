"""The teams of which prompts or pictures are kept."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.database.database import Transaction

_NOTE = (
    "INSERT INTO kept_inputs (team, keeping) VALUES ($1, $2) ON CONFLICT (team) DO UPDATE "
    "SET keeping = excluded.keeping WHERE kept_inputs.keeping <> 'all'"
)


async def note(tx: Transaction, team: str, keeping: str) -> None:
    """Something of the team is kept from now on: 'prompts' or 'all'."""
    await tx.fetch(_NOTE, team, keeping)


async def noted(tx: Transaction) -> Mapping[str, str]:
    """The most that is kept of each team."""
    rows = await tx.fetch("SELECT team, keeping FROM kept_inputs")
    return {row["team"]: row["keeping"] for row in rows}


async def forget(tx: Transaction, team: str) -> None:
    """Nothing of the team is kept any more."""
    await tx.fetch("DELETE FROM kept_inputs WHERE team = $1", team)
