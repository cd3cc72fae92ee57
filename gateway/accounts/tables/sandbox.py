"""The accounts of sandbox keys in the sandbox's own state, where nothing limits their money."""

from __future__ import annotations

from gateway.accounts.tables.accounts import AccountRecord
from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows

_ADD = "INSERT INTO accounts (id, level, parent, name, change, created_ms, expires_ms)"
_AGAIN = "ON CONFLICT (id) DO UPDATE SET expires_ms = excluded.expires_ms"


async def add_accounts(tx: Transaction, key: AccountRecord, now_ms: int) -> None:
    """Add a sandbox key and its team, or renew what is there."""
    team, expires_ms = key.parent or "", key.settings.expires_ms
    await insert_rows(
        tx,
        _ADD,
        [
            (team, "team", None, team.removeprefix("team:"), 0, now_ms, None),
            (key.id, "key", team, key.id, 0, now_ms, expires_ms),  # a name is not unique for ever
        ],
        _AGAIN,
    )
