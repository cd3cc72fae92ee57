"""Admin tokens: a role each, found by their hash, revoked at once."""

from __future__ import annotations

import re

import pytest

from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.errors import AccountEnded, AlreadyExists, BadValue, NotFound
from gateway.accounts.tables.audit import list_audit
from gateway.accounts.tables.teams import archive_team, create_team
from gateway.accounts.tables.tokens import create_token, find_token, list_tokens, revoke_token
from gateway.database.database import Database
from tests.accounts.tables.test_keys import everything
from tests.support.accounts import BY, FIVE_DOLLARS, NOW, change, look


@pytest.mark.parametrize("role", ["admin", "finance", "team:ops"])
async def test_a_token_is_found_with_its_role(database: Database, role: str) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    made = await change(database, create_token, "ci", role, BY)
    assert re.fullmatch(r"gwt-[A-Za-z0-9_-]{43}", made.secret)
    found = await look(database, find_token, hash_secret(made.secret))
    assert found == made.token
    assert found.role == role
    assert found.team == ("ops" if role == "team:ops" else None)
    assert made.secret not in await look(database, everything)


async def test_an_unknown_secret_finds_no_token(database: Database) -> None:
    await change(database, create_token, "ci", "admin", BY)
    assert await look(database, find_token, hash_secret("gwt-other")) is None


async def test_a_revoked_token_is_not_found(database: Database) -> None:
    made = await change(database, create_token, "ci", "admin", BY)
    revoked = await change(database, revoke_token, "ci", BY)
    assert revoked.revoked_ms == NOW
    assert await change(database, revoke_token, made.token.id, BY) == revoked
    assert await look(database, find_token, hash_secret(made.secret)) is None
    assert await look(database, list_tokens) == []
    assert await look(database, list_tokens, revoked=True) == [revoked]


async def test_a_token_of_a_team_ends_with_the_team(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    made = await change(database, create_token, "ci", "team:ops", BY)
    await change(database, archive_team, "ops", BY)
    assert await look(database, find_token, hash_secret(made.secret)) is None


async def test_a_name_is_one_tokens_until_that_is_revoked(database: Database) -> None:
    await change(database, create_token, "ci", "admin", BY)
    with pytest.raises(AlreadyExists, match="revoke it first"):
        await change(database, create_token, "ci", "finance", BY)
    await change(database, revoke_token, "ci", BY)
    again = await change(database, create_token, "ci", "finance", BY)
    assert again.token.role == "finance"


async def test_a_role_that_is_none_is_refused(database: Database) -> None:
    with pytest.raises(BadValue, match="admin, finance or team:NAME"):
        await change(database, create_token, "ci", "root", BY)
    with pytest.raises(NotFound, match="nobody"):
        await change(database, create_token, "ci", "team:nobody", BY)
    await change(database, create_team, "old", FIVE_DOLLARS, BY)
    await change(database, archive_team, "old", BY)
    with pytest.raises(AccountEnded):
        await change(database, create_token, "ci", "team:old", BY)


@pytest.mark.parametrize("reference", ["nothing", "\x00", "\ud800"])
async def test_a_token_that_is_not_there_is_said_so(database: Database, reference: str) -> None:
    with pytest.raises(NotFound):
        await change(database, revoke_token, reference, BY)


async def test_the_audit_names_a_token_and_its_role_only(database: Database) -> None:
    made = await change(database, create_token, "ci", "admin", BY)
    (row,) = await look(database, list_audit)
    assert (row.action, row.subject) == ("token.create", f"token:{made.token.id}")
    assert row.new == {"name": "ci", "role": "admin"}
