"""Keys: a secret shown once, a rotation with a grace, an end for good."""

from __future__ import annotations

import asyncio
import re

import pytest

from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.rules.errors import AccountEnded, AlreadyExists, BadValue, NotFound
from gateway.accounts.tables.audit import Author, list_audit
from gateway.accounts.tables.keys import (
    NewKey,
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
    show_key,
    update_key,
)
from gateway.accounts.tables.teams import archive_team, create_team
from gateway.database.database import Database, Transaction
from gateway.model.caller import Limits
from tests.support.accounts import BY, FIVE_DOLLARS, NOW, change, look, team_with_key

LATER = Author("ada", NOW + 1000, "laptop lost")


async def everything(tx: Transaction) -> str:
    """All that the tables of accounts hold, as text."""
    rows = [
        *await tx.fetch("SELECT * FROM accounts"),
        *await tx.fetch("SELECT * FROM secrets"),
        *await tx.fetch("SELECT * FROM tokens"),
        *await tx.fetch("SELECT * FROM audit"),
    ]
    return repr(rows)


async def test_a_new_key_has_a_secret_that_is_shown_once_and_never_stored(
    database: Database,
) -> None:
    made = await team_with_key(database)
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", made.secret)
    assert made.secret not in await look(database, everything)
    assert made.secret[4:-4] not in repr(await look(database, list_keys))


async def test_a_key_keeps_its_terms_its_team_and_its_name(database: Database) -> None:
    limits = Limits(budget_nanos=10, budget_period="day", models=frozenset({"m"}))
    made = await team_with_key(
        database, limits=limits, tags={"project": "x"}, expires_ms=NOW + 5000
    )
    shown = await look(database, show_key, made.key.id)
    assert shown == made.key
    assert (shown.team, shown.name) == ("ops", "laptop")
    assert shown.account.settings == AccountSettings(
        limits, tags={"project": "x"}, expires_ms=NOW + 5000
    )
    assert shown.hint == f"{made.secret[:7]}…{made.secret[-4:]}"


async def test_no_two_keys_share_a_secret_or_an_id(database: Database) -> None:
    first = await team_with_key(database)
    second = await change(database, create_key, "ops", "other", AccountSettings(), BY)
    assert first.secret != second.secret
    assert first.key.id != second.key.id


async def test_a_secret_of_the_callers_is_taken(database: Database) -> None:
    await change(database, create_team, "demo", AccountSettings(unlimited=True), BY)
    made = await change(database, create_key, "demo", "d", AccountSettings(), BY, secret="sk-demo")
    assert made.secret == "sk-demo"
    assert "sk-demo" not in await look(database, everything)
    with pytest.raises(AlreadyExists, match="secret"):
        await change(database, create_key, "demo", "e", AccountSettings(), BY, secret="sk-demo")


@pytest.mark.parametrize("secret", ["", "short", "with space", "sk-dæmon", "line\nbreak"])
async def test_a_secret_that_no_header_could_carry_is_refused(
    database: Database, secret: str
) -> None:
    await change(database, create_team, "demo", AccountSettings(unlimited=True), BY)
    with pytest.raises(BadValue, match="secret has"):
        await change(database, create_key, "demo", "d", AccountSettings(), BY, secret=secret)


async def test_a_key_needs_a_team_that_is_there_and_in_use(database: Database) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await change(database, create_key, "nobody", "k", AccountSettings(), BY)
    await change(database, create_team, "old", FIVE_DOLLARS, BY)
    await change(database, archive_team, "old", BY)
    with pytest.raises(AccountEnded, match="archived"):
        await change(database, create_key, "old", "k", AccountSettings(), BY)


async def test_a_name_is_one_keys_until_that_is_revoked(database: Database) -> None:
    made = await team_with_key(database)
    with pytest.raises(AlreadyExists, match="rotate it"):
        await change(database, create_key, "ops", "laptop", AccountSettings(), BY)
    await change(database, revoke_key, made.key.id, BY)
    again = await change(database, create_key, "ops", "laptop", AccountSettings(), BY)
    assert (await look(database, show_key, "ops/laptop")).id == again.key.id


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "x" * 101, "\ud800"])
async def test_a_key_name_that_cannot_be_is_refused(database: Database, name: str) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    with pytest.raises(BadValue, match="name"):
        await change(database, create_key, "ops", name, AccountSettings(), BY)


async def test_a_key_that_would_have_expired_already_is_refused(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    with pytest.raises(BadValue, match="expires_at"):
        await change(database, create_key, "ops", "k", AccountSettings(expires_ms=NOW), BY)


async def test_a_keys_limits_can_be_changed(database: Database) -> None:
    await team_with_key(database)
    wanted = AccountSettings(Limits(max_in_flight=1), tags={"a": "b"})
    updated = await change(database, update_key, "ops/laptop", lambda _: wanted, LATER)
    assert updated.account.settings == wanted
    assert await look(database, show_key, updated.id) == updated


async def test_a_revoked_key_stays_revoked(database: Database) -> None:
    made = await team_with_key(database)
    revoked = await change(database, revoke_key, made.key.id, LATER)
    assert revoked.account.ended_ms == LATER.now_ms
    assert await change(database, revoke_key, made.key.id, BY) == revoked
    with pytest.raises(AccountEnded, match="revoked"):
        await change(database, rotate_key, made.key.id, BY, grace_ms=0)
    with pytest.raises(AccountEnded, match="revoked"):
        await change(database, update_key, made.key.id, lambda terms: terms, BY)


async def test_a_rotation_gives_a_new_secret_and_says_how_long_the_old_one_lasts(
    database: Database,
) -> None:
    made = await team_with_key(database)
    rotated = await change(database, rotate_key, "ops/laptop", LATER, grace_ms=60_000)
    assert rotated.secret != made.secret
    assert rotated.key.id == made.key.id
    assert rotated.key.rotated_until_ms == LATER.now_ms + 60_000
    assert await look(database, show_key, made.key.id) == rotated.key
    assert rotated.secret not in await look(database, everything)


async def test_a_grace_below_nothing_is_refused(database: Database) -> None:
    await team_with_key(database)
    with pytest.raises(BadValue, match="grace"):
        await change(database, rotate_key, "ops/laptop", BY, grace_ms=-1)


async def test_keys_are_listed_by_team_without_the_revoked(database: Database) -> None:
    await team_with_key(database, "a", "one")
    gone = await change(database, create_key, "a", "two", AccountSettings(), BY)
    await team_with_key(database, "b", "three")
    await change(database, revoke_key, gone.key.id, BY)

    def names(found: object) -> list[str]:
        return sorted(key.name for key in found)  # type: ignore[attr-defined]

    assert names(await look(database, list_keys)) == ["one", "three"]
    assert names(await look(database, list_keys, team="a")) == ["one"]
    assert names(await look(database, list_keys, team="a", revoked=True)) == ["one", "two"]
    with pytest.raises(NotFound, match="nobody"):
        await look(database, list_keys, team="nobody")


async def test_a_listing_of_keys_goes_page_by_page_with_every_hint(database: Database) -> None:
    made = [await team_with_key(database)]
    for number in range(6):
        made.append(await change(database, create_key, "ops", f"k{number}", AccountSettings(), BY))
    seen = list(await look(database, list_keys, limit=3))
    while page := await look(database, list_keys, after=seen[-1].account.id, limit=3):
        seen += page
    assert {key.id: key.hint for key in seen} == {new.key.id: new.key.hint for new in made}


@pytest.mark.parametrize("reference", ["key_none", "ops/none", "/", "", "\x00/a", "a/\ud800"])
async def test_a_key_that_is_not_there_is_said_so(database: Database, reference: str) -> None:
    await team_with_key(database)
    with pytest.raises(NotFound):
        await look(database, show_key, reference)


async def test_keys_made_at_the_same_time_are_all_made(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    made: list[NewKey] = await asyncio.gather(
        *(change(database, create_key, "ops", f"k{n}", AccountSettings(), BY) for n in range(20))
    )
    assert len({new.key.account.change for new in made}) == 20
    assert len(await look(database, list_keys)) == 20


async def test_of_two_keys_made_with_one_name_one_is_refused(database: Database) -> None:
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)
    ends = await asyncio.gather(
        *(change(database, create_key, "ops", "same", AccountSettings(), BY) for _ in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(end).__name__ for end in ends) == [*["AlreadyExists"] * 3, "NewKey"]


async def test_no_audit_row_holds_a_secret_or_its_hash(database: Database) -> None:
    made = await team_with_key(database)
    rotated = await change(database, rotate_key, "ops/laptop", LATER, grace_ms=5)
    audit = repr(await look(database, list_audit))
    for secret in (made.secret, rotated.secret):
        assert secret not in audit
        assert hash_secret(secret) not in audit


async def test_the_hint_of_a_short_secret_does_not_give_it_away(database: Database) -> None:
    await change(database, create_team, "demo", AccountSettings(unlimited=True), BY)
    made = await change(database, create_key, "demo", "d", AccountSettings(), BY, secret="sk-demo")
    assert made.key.hint == "sk-…"
