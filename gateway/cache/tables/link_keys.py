"""The keys that sign links to pictures, one for each day on which links expire."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.database.database import Transaction


async def read_keys(tx: Transaction) -> dict[int, str]:
    """The keys by day."""
    rows = await tx.fetch("SELECT day, secret FROM link_keys")
    return {row["day"]: row["secret"] for row in rows}


async def add_keys(tx: Transaction, secrets: Mapping[int, str]) -> dict[int, str]:
    """Add the keys of days that have none, and give all. The first of a day stays."""
    for day, secret in sorted(secrets.items()):
        await tx.fetch(
            "INSERT INTO link_keys (day, secret) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING",
            *(day, secret),
        )
    return await read_keys(tx)


async def sweep(tx: Transaction, before_day: int) -> None:
    """Delete the keys of days on which every link has expired."""
    await tx.fetch("DELETE FROM link_keys WHERE day < $1", before_day)
