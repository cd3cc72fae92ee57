"""Admin tokens: named, revocable, each with a role; kept as digests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.accounts.credentials import TOKEN_PREFIX, hash_secret, hint_of, new_id, new_secret
from gateway.accounts.rules.errors import AlreadyExists, BadValue, NotFound
from gateway.accounts.rules.field_types import check_label, is_text
from gateway.accounts.tables.accounts import team_in_use
from gateway.accounts.tables.audit import Author, append, next_change
from gateway.database.database import Transaction

ADMIN, FINANCE = "admin", "finance"
_COLUMNS = "id, name, role, hint, created_ms, revoked_ms"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An admin token; `role` is "admin", "finance" or "team:NAME"."""

    id: str
    name: str
    role: str
    hint: str
    created_ms: int
    revoked_ms: int | None = None

    @property
    def team(self) -> str | None:
        """The team of a team token."""
        return self.role.removeprefix("team:") if self.role.startswith("team:") else None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token with its secret, which is shown only once."""

    token: TokenRecord
    secret: str


async def create_token(tx: Transaction, name: str, role: str, by: Author) -> NewToken:
    """A new admin token. Raises BadValue, AlreadyExists, NotFound and Ended for its team."""
    check_label(name, "token")
    await next_change(tx)
    await _check_role(tx, role)
    secret = new_secret(TOKEN_PREFIX)
    made = TokenRecord(new_id("tok_"), name, role, hint_of(secret), by.now_ms)
    added = await tx.fetch(
        "INSERT INTO tokens (id, name, role, hash, hint, created_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id",
        *(made.id, name, role, hash_secret(secret), made.hint, made.created_ms),
    )
    if not added:
        raise AlreadyExists(f"There is already a token {name!r}: revoke it first.", "name")
    await append(tx, by, "token.create", f"token:{made.id}", {}, {"name": name, "role": role})
    return NewToken(made, secret)


async def revoke_token(tx: Transaction, reference: str, by: Author) -> TokenRecord:
    """End a token, by its id or its name. Raises NotFound.

    One that is revoked already stays as it is.
    """
    await next_change(tx)
    found = await _token(tx, reference)
    if found.revoked_ms is not None:
        return found
    await tx.fetch("UPDATE tokens SET revoked_ms = $2 WHERE id = $1", found.id, by.now_ms)
    ended = {"ended": True}
    await append(tx, by, "token.revoke", f"token:{found.id}", {"ended": False}, ended)
    return replace(found, revoked_ms=by.now_ms)


async def list_tokens(tx: Transaction, *, revoked: bool = False) -> Sequence[TokenRecord]:
    """Tokens by name; revoked ones too where asked for."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM tokens "
        "WHERE revoked_ms IS NULL OR $1 = 'revoked' ORDER BY name, created_ms, id",
        "revoked" if revoked else "",
    )
    return [TokenRecord(**row) for row in rows]


async def find_token(tx: Transaction, secret_hash: str) -> TokenRecord | None:
    """The token of that secret's hash; None where there is none that is valid.

    A token of an archived team is not valid.
    """
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM tokens WHERE hash = $1 AND revoked_ms IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM accounts a WHERE a.id = tokens.role AND a.ended_ms IS NOT NULL)",
        secret_hash,
    )
    return TokenRecord(**rows[0]) if rows else None


async def _token(tx: Transaction, reference: str) -> TokenRecord:
    if is_text(reference):
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM tokens "
            "WHERE id = $1 OR name = $1 ORDER BY revoked_ms IS NOT NULL, created_ms DESC LIMIT 1",
            reference,
        )
        if rows:
            return TokenRecord(**rows[0])
    raise NotFound(f"There is no token {reference!r}.", "token")


async def _check_role(tx: Transaction, role: str) -> None:
    if role.startswith("team:"):
        await team_in_use(tx, role.removeprefix("team:"))
    elif role not in (ADMIN, FINANCE):
        raise BadValue("A role is admin, finance or team:NAME.", "role")
