"""Admin tokens: named, revocable, each with a role; kept as digests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accounts.credentials import TOKEN_PREFIX, hash_secret, hint_of, new_id, new_secret
from gateway.accounts.rules.errors import AlreadyExists, BadValue, NotFound
from gateway.accounts.rules.field_types import is_text
from gateway.accounts.tables.accounts import team_in_use
from gateway.accounts.tables.audit import Author, append, next_change
from gateway.database.database import Row, Transaction

ADMIN = "admin"
FINANCE = "finance"


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
    if not name.strip() or name != name.strip() or not is_text(name) or len(name) > 100:
        raise BadValue("A token's name is one line of 1 to 100 characters.", "name")
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
    rows = await tx.fetch(
        "UPDATE tokens SET revoked_ms = $2 WHERE id = $1 "
        "RETURNING id, name, role, hint, created_ms, revoked_ms",
        *(found.id, by.now_ms),
    )
    subject = f"token:{found.id}"
    await append(tx, by, "token.revoke", subject, {"ended": False}, {"ended": True})
    return _token_of(rows[0])


async def list_tokens(tx: Transaction, *, revoked: bool = False) -> Sequence[TokenRecord]:
    """Tokens by name; revoked ones too where asked for."""
    rows = await tx.fetch(
        "SELECT id, name, role, hint, created_ms, revoked_ms FROM tokens "
        "WHERE revoked_ms IS NULL OR $1 = 'revoked' ORDER BY name, created_ms, id",
        "revoked" if revoked else "",
    )
    return [_token_of(row) for row in rows]


async def find_token(tx: Transaction, secret_hash: str) -> TokenRecord | None:
    """The token of that secret's hash; None where there is none that is valid.

    A token of an archived team is not valid.
    """
    rows = await tx.fetch(
        "SELECT t.id, t.name, t.role, t.hint, t.created_ms, t.revoked_ms FROM tokens t "
        "LEFT JOIN accounts a ON a.id = t.role "
        "WHERE t.hash = $1 AND t.revoked_ms IS NULL AND a.ended_ms IS NULL",
        secret_hash,
    )
    return _token_of(rows[0]) if rows else None


async def _token(tx: Transaction, reference: str) -> TokenRecord:
    if is_text(reference):
        rows = await tx.fetch(
            "SELECT id, name, role, hint, created_ms, revoked_ms FROM tokens "
            "WHERE id = $1 OR name = $1 ORDER BY revoked_ms IS NOT NULL, created_ms DESC LIMIT 1",
            reference,
        )
        if rows:
            return _token_of(rows[0])
    raise NotFound(f"There is no token {reference!r}.", "token")


async def _check_role(tx: Transaction, role: str) -> None:
    if role.startswith("team:"):
        await team_in_use(tx, role.removeprefix("team:"))
    elif role not in (ADMIN, FINANCE):
        raise BadValue("A role is admin, finance or team:NAME.", "role")


def _token_of(row: Row) -> TokenRecord:
    return TokenRecord(
        id=row["id"],
        name=row["name"],
        role=row["role"],
        hint=row["hint"],
        created_ms=row["created_ms"],
        revoked_ms=row["revoked_ms"],
    )
