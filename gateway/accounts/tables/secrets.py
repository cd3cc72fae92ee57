"""The accounts and secrets that authentication keeps in memory: all, or those changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accounts.tables.accounts import COLUMNS, AccountRecord, record_of
from gateway.database.database import Transaction


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """A secret's digest and its key; `valid_until_ms` is set once it is replaced."""

    hash: str
    key_id: str
    valid_until_ms: int | None


@dataclass(frozen=True, slots=True)
class AccountChanges:
    """The accounts that changed, with every secret of the keys among them.

    `change` is the number of the latest change included. With `whole`, these are all accounts.
    """

    change: int
    whole: bool
    accounts: Sequence[AccountRecord] = ()
    secrets: Sequence[SecretRecord] = ()


async def load_changes(tx: Transaction, change: int) -> AccountChanges:
    """The changes after that number; all accounts where it is 0.

    Where the state's own number is lower (a backup was restored), all accounts as well. Costs one
    small SELECT when nothing changed.
    """
    rows = await tx.fetch("SELECT value FROM counters WHERE name = 'changes'")
    latest = int(rows[0]["value"])
    if latest == change != 0:
        return AccountChanges(latest, whole=False)
    since = change if latest > change else 0
    # Change 0 is the organisation as the migration created it.
    accounts = await tx.fetch(
        f"SELECT {COLUMNS} FROM accounts WHERE change > $1 OR $1 = CAST(0 AS BIGINT)", since
    )
    secrets = await tx.fetch(
        "SELECT s.hash, s.key_id, s.valid_until_ms FROM accounts a "
        "JOIN secrets s ON s.key_id = SUBSTR(a.id, 5) WHERE a.level = 'key' AND a.change > $1",
        since,
    )
    return AccountChanges(
        change=latest,
        whole=since == 0,
        accounts=[record_of(row) for row in accounts],
        secrets=[SecretRecord(r["hash"], r["key_id"], r["valid_until_ms"]) for r in secrets],
    )
