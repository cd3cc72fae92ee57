"""API keys: create, change, rotate, revoke. A secret is shown once and stored as a digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.accounts.credentials import (
    KEY_PREFIX,
    check_secret,
    hash_secret,
    hint_of,
    new_id,
    new_secret,
)
from gateway.accounts.rules.account_settings import AccountSettings, complete_settings
from gateway.accounts.rules.errors import AccountEnded, AlreadyExists, BadValue, NotFound
from gateway.accounts.rules.field_types import check_label, is_text
from gateway.accounts.tables.accounts import (
    COLUMNS,
    AccountRecord,
    Edit,
    account_by_id,
    insert,
    list_accounts,
    mark_changed,
    record_of,
    save,
    team_in_use,
)
from gateway.accounts.tables.audit import Author, append, next_change
from gateway.database.database import Transaction


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as shown in listings.

    `hint` is the beginning and end of its current secret; `rotated_until_ms` is the end of
    validity of the previous one.
    """

    account: AccountRecord
    hint: str
    rotated_until_ms: int | None = None

    @property
    def id(self) -> str:
        """Its id as people use it, such as `key_4k9d…`."""
        return self.account.id.removeprefix("key:")

    @property
    def team(self) -> str:
        return (self.account.parent or "").removeprefix("team:")

    @property
    def name(self) -> str:
        return self.account.name


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key with its secret, which is shown only once."""

    key: KeyRecord
    secret: str


async def create_key(
    tx: Transaction,
    team: str,
    name: str,
    settings: AccountSettings,
    by: Author,
    *,
    secret: str | None = None,
) -> NewKey:
    """Create a key of a team; `secret` is generated unless given (the demo gives one).

    Raises NotFound and Ended for the team, AlreadyExists for the name or the secret, BadValue.
    """
    check_label(name, "key")
    text = new_secret(KEY_PREFIX) if secret is None else check_secret(secret)
    await next_change(tx)
    owner = await team_in_use(tx, team)
    await _check_free(tx, owner, name)
    complete = complete_settings(settings, "key")
    if complete.expires_ms is not None and complete.expires_ms <= by.now_ms:
        raise BadValue("expires_at is in the past.", "expires_at")
    key_id = new_id("key_")
    new = AccountRecord(f"key:{key_id}", "key", owner.id, name, complete)
    await _add_secret(tx, key_id, text, by.now_ms)
    made = await insert(tx, new, "key.create", by)
    return NewKey(KeyRecord(made, hint_of(text)), text)


async def update_key(tx: Transaction, reference: str, edit: Edit, by: Author) -> KeyRecord:
    """Change a key's settings to what `edit` makes of them. Raises NotFound, Ended, BadValue."""
    await next_change(tx)
    old = await _key_in_use(tx, reference)
    new = replace(old.account, settings=complete_settings(edit(old.account.settings), "key"))
    if new.settings.sandbox != old.account.settings.sandbox:
        raise BadValue("sandbox is fixed when a key is created: create another key.", "sandbox")
    return replace(old, account=await save(tx, old.account, new, "key.update", by))


async def revoke_key(tx: Transaction, reference: str, by: Author) -> KeyRecord:
    """End a key and every secret of it, for good. Raises NotFound.

    A key that is revoked already stays as it is.
    """
    await next_change(tx)
    old = await show_key(tx, reference)
    if old.account.ended_ms is not None:
        return old
    new = replace(old.account, ended_ms=by.now_ms)
    return replace(old, account=await save(tx, old.account, new, "key.revoke", by))


async def rotate_key(tx: Transaction, reference: str, by: Author, *, grace_ms: int) -> NewKey:
    """Give a key a new secret; the one before it stays valid for `grace_ms` more.

    Raises NotFound, Ended (also where its team is archived), BadValue.
    """
    if grace_ms < 0:
        raise BadValue("grace must be 0 or more.", "grace")
    await next_change(tx)
    old = await _key_in_use(tx, reference)
    await team_in_use(tx, old.team)
    until_ms = by.now_ms + grace_ms
    sql = "UPDATE secrets SET valid_until_ms = $2 WHERE key_id = $1 AND valid_until_ms IS NULL"
    await tx.fetch(sql, old.id, until_ms)
    text = new_secret(KEY_PREFIX)
    await _add_secret(tx, old.id, text, by.now_ms)
    account = await mark_changed(tx, old.account)
    new = KeyRecord(account, hint_of(text), until_ms)
    before, now = {"hint": old.hint}, {"hint": new.hint, "old_secret_valid_until_ms": until_ms}
    await append(tx, by, "key.rotate", account.id, before, now)
    return NewKey(new, text)


async def show_key(tx: Transaction, reference: str) -> KeyRecord:
    """A key by its id or as TEAM/NAME, revoked or not. Raises NotFound."""
    return (await _with_secrets(tx, [await _account(tx, reference)]))[0]


async def list_keys(
    tx: Transaction,
    *,
    team: str | None = None,
    revoked: bool = False,
    after: str = "",
    limit: int = 1000,
) -> Sequence[KeyRecord]:
    """Keys by id, from above the account id `after`, with revoked ones on request.

    Raises NotFound for an unknown team.
    """
    parent = None if team is None else (await account_by_id(tx, f"team:{team}")).id
    found = await list_accounts(tx, "key", parent=parent, ended=revoked, after=after, limit=limit)
    return await _with_secrets(tx, found)


async def key_names(tx: Transaction, team: str | None = None) -> Mapping[str, str]:
    """TEAM/NAME by the key's id, of one team or of all, revoked keys included."""
    rows = await tx.fetch(
        "SELECT id, parent, name FROM accounts WHERE level = 'key' AND (parent = $1 OR $1 = '')",
        "" if team is None else f"team:{team}",
    )
    return {
        row["id"].removeprefix("key:"): f"{row['parent'].removeprefix('team:')}/{row['name']}"
        for row in rows
    }


async def _account(tx: Transaction, reference: str) -> AccountRecord:
    team, slash, name = reference.partition("/")
    if not slash:
        return await account_by_id(tx, f"key:{reference.removeprefix('key:')}")
    if is_text(reference) and (found := await _by_name(tx, f"team:{team}", name)):
        return found
    raise NotFound(f"There is no key {name!r} in a team {team!r}.", "key")


async def _by_name(tx: Transaction, team_id: str, name: str) -> AccountRecord | None:
    """The team's key of that name: the one in use, else the latest one that is revoked."""
    rows = await tx.fetch(
        f"SELECT {COLUMNS} FROM accounts WHERE level = 'key' AND parent = $1 AND name = $2 "
        "ORDER BY ended_ms IS NOT NULL, created_ms DESC LIMIT 1",
        *(team_id, name),
    )
    return record_of(rows[0]) if rows else None


async def _key_in_use(tx: Transaction, reference: str) -> KeyRecord:
    found = await show_key(tx, reference)
    if found.account.ended_ms is not None:
        raise AccountEnded(f"The key {reference!r} is revoked: make a new one.", "key")
    return found


async def _with_secrets(tx: Transaction, accounts: Sequence[AccountRecord]) -> Sequence[KeyRecord]:
    """Keys with the hints of their secrets; the accounts are sorted by id."""
    ids = [account.id.removeprefix("key:") for account in accounts]
    rows = await tx.fetch(
        "SELECT key_id, hint, valid_until_ms FROM secrets WHERE key_id BETWEEN $1 AND $2 "
        "ORDER BY created_ms",
        *(ids[0] if ids else "", ids[-1] if ids else ""),
    )
    hints: dict[str, str] = {}
    until: dict[str, int] = {}
    for row in rows:
        if row["valid_until_ms"] is None:
            hints[row["key_id"]] = row["hint"]
        else:
            until[row["key_id"]] = max(row["valid_until_ms"], until.get(row["key_id"], 0))
    pairs = zip(accounts, ids, strict=True)
    return [KeyRecord(account, hints.get(key, ""), until.get(key)) for account, key in pairs]


async def _check_free(tx: Transaction, team: AccountRecord, name: str) -> None:
    found = await _by_name(tx, team.id, name)
    if found and found.ended_ms is None:
        raise AlreadyExists(
            f"The team {team.name!r} already has a key {name!r}: rotate it, or revoke it first.",
            "name",
        )


async def _add_secret(tx: Transaction, key_id: str, secret: str, now_ms: int) -> None:
    added = await tx.fetch(
        "INSERT INTO secrets (hash, key_id, hint, created_ms) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (hash) DO NOTHING RETURNING key_id",
        *(hash_secret(secret), key_id, hint_of(secret), now_ms),
    )
    if not added:
        raise AlreadyExists("That secret is or was another key's: choose another.", "secret")
