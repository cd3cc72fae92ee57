"""The authenticator: the keys in memory, and how soon a change reaches them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.accounts.authenticator import BEHIND_MS, Authenticator, keep_fresh, refresh
from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.rules.errors import AccountError
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import create_key, revoke_key, rotate_key, update_key
from gateway.accounts.tables.organisation import pause, resume, update_organisation
from gateway.accounts.tables.secrets import AccountChanges, load_changes
from gateway.accounts.tables.teams import archive_team, create_team, update_team
from gateway.database.database import Database, Row, StateUnavailable, Transaction, Value
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.model.caller import Caller, Limits
from gateway.model.errors import Refusal
from tests.support.accounts import BY, FIVE_DOLLARS, NOW, change, look, team_with_key
from tests.support.databases import open_engine

R = TypeVar("R")


def now() -> int:
    return NOW


async def loaded(database: Database, authenticator: Authenticator | None = None) -> Authenticator:
    """An authenticator that has read the state as it is now."""
    authenticator = authenticator or Authenticator(stale_seconds=300)
    await refresh(authenticator, database, now)
    return authenticator


def found(authenticator: Authenticator, secret: str, at_ms: int = NOW) -> Caller:
    return authenticator.find(hash_secret(secret), at_ms)


def problem(authenticator: Authenticator, secret: str, at_ms: int = NOW) -> str:
    """The message for the holder of a key that is not valid."""
    with pytest.raises(Refusal) as caught:
        authenticator.find(hash_secret(secret), at_ms)
    assert caught.value.code == "invalid_api_key"
    return caught.value.message


async def test_a_key_is_found_with_every_account_above_it(database: Database) -> None:
    owned = AccountSettings(Limits(budget_nanos=5), owner="Ada", cost_centre="4711")
    await change(
        database, update_organisation, lambda _: AccountSettings(Limits(max_in_flight=9)), BY
    )
    await change(database, create_team, "ops", owned, BY)
    terms = AccountSettings(Limits(requests_per_minute=7), tags={"project": "x"})
    made = await change(database, create_key, "ops", "laptop", terms, BY)
    caller = found(await loaded(database), made.secret)
    assert (caller.key_id, caller.key_name, caller.team) == (made.key.id, "laptop", "ops")
    assert (caller.owner, caller.cost_centre, caller.tags) == ("Ada", "4711", {"project": "x"})
    ids = [account.id for account in caller.accounts]
    assert ids == ["organisation", "team:ops", f"key:{made.key.id}"]
    assert [account.limits for account in caller.accounts] == [
        Limits(max_in_flight=9),
        Limits(budget_nanos=5, budget_period="month"),
        Limits(requests_per_minute=7),
    ]


async def test_an_unknown_secret_is_unknown(database: Database) -> None:
    await team_with_key(database)
    assert "unknown" in problem(await loaded(database), "sk-other")


async def test_a_revoked_key_is_said_to_be_revoked(database: Database) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    found(authenticator, made.secret)
    await change(database, revoke_key, made.key.id, BY)
    refused = problem(await loaded(database, authenticator), made.secret)
    assert "'laptop' is revoked" in refused


async def test_a_key_works_until_the_moment_it_expires(database: Database) -> None:
    made = await team_with_key(database, expires_ms=NOW + 1000)
    authenticator = await loaded(database)
    found(authenticator, made.secret, NOW + 999)
    refused = problem(authenticator, made.secret, NOW + 1000)
    assert "expired at" in refused


async def test_a_rotated_secret_works_for_its_grace_and_the_new_one_from_then_on(
    database: Database,
) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    rotated = await change(database, rotate_key, made.key.id, BY, grace_ms=1000)
    await loaded(database, authenticator)
    assert found(authenticator, made.secret, NOW + 999) == found(
        authenticator, rotated.secret, NOW + 999
    )
    assert "has a new secret" in problem(authenticator, made.secret, NOW + 1000)
    found(authenticator, rotated.secret, NOW + 1000)


async def test_the_keys_of_an_archived_team_stop_working(database: Database) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    await change(database, archive_team, "ops", BY)
    refused = problem(await loaded(database, authenticator), made.secret)
    assert "which is archived" in refused


async def test_what_changes_above_a_key_reaches_its_caller(database: Database) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    found(authenticator, made.secret)
    await change(
        database, update_organisation, lambda _: AccountSettings(Limits(max_in_flight=1)), BY
    )
    await change(
        database,
        update_team,
        "ops",
        lambda terms: change_settings(terms, "team", {"budget_usd": "1"}),
        BY,
    )
    await change(database, pause, BY, "ops")
    caller = found(await loaded(database, authenticator), made.secret)
    assert caller.organisation_account.limits.max_in_flight == 1
    assert caller.team_account.limits.budget_nanos == 1_000_000_000
    assert caller.team_account.paused


class Counting:
    """Counts the statements that go through a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.statements = 0

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        self.statements += 1
        return list(await self._tx.fetch(sql, *values))


async def test_asking_when_nothing_changed_costs_one_statement(database: Database) -> None:
    await team_with_key(database)
    authenticator = await loaded(database)

    async def ask(tx: Transaction) -> tuple[AccountChanges, int]:
        counting = Counting(tx)
        return await load_changes(counting, authenticator.change), counting.statements

    update, statements = await database.read(ask)
    assert update == AccountChanges(authenticator.change, whole=False)
    assert statements == 1


async def test_only_what_changed_is_read_again(database: Database) -> None:
    await team_with_key(database)
    authenticator = await loaded(database)
    made = await change(database, create_key, "ops", "second", AccountSettings(), BY)
    update = await look(database, load_changes, authenticator.change)
    assert [account.id for account in update.accounts] == [made.key.account.id]
    assert [secret.hash for secret in update.secrets] == [hash_secret(made.secret)]


async def test_a_read_that_was_overtaken_takes_nothing_back(database: Database) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    await change(
        database, update_key, made.key.id, lambda _: AccountSettings(Limits(max_in_flight=5)), BY
    )
    slow = await look(database, load_changes, authenticator.change)
    await change(database, revoke_key, made.key.id, BY)
    await loaded(database, authenticator)
    authenticator.apply(slow, NOW)
    assert "is revoked" in problem(authenticator, made.secret)


async def test_a_restored_backup_makes_it_forget_what_came_after(database: Database) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)

    async def restore(tx: Transaction) -> None:
        await tx.fetch("DELETE FROM accounts WHERE level = 'key'")
        await tx.fetch("DELETE FROM secrets")
        await tx.fetch("UPDATE counters SET value = 1 WHERE name = 'changes'")

    await database.write(restore)
    await loaded(database, authenticator)
    assert "unknown" in problem(authenticator, made.secret)
    assert authenticator.key_count == 0


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic c2stZGVtbw==", "sk-demo", "Bearer  "]
)
async def test_a_header_without_a_bearer_key_is_refused(database: Database, header: str) -> None:
    authenticator = await loaded(database)
    with pytest.raises(Refusal, match="Authorization: Bearer") as caught:
        authenticator.authenticate(header, NOW)
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_a_bearer_key_is_authenticated(database: Database, scheme: str) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    assert authenticator.authenticate(f"{scheme} {made.secret}", NOW).team == "ops"


@pytest.mark.parametrize("secret", ["sk-unknown", "\udcff\udc80", "x" * 100_000])
async def test_whatever_is_sent_as_a_key_is_at_most_unknown(
    database: Database, secret: str
) -> None:
    authenticator = await loaded(database)
    with pytest.raises(Refusal, match="unknown"):
        authenticator.authenticate(f"Bearer {secret}", NOW)


async def test_known_keys_go_on_for_a_while_when_the_state_is_out_of_reach(
    database: Database,
) -> None:
    made = await team_with_key(database)
    authenticator = await loaded(database)
    authenticator.authenticate(f"Bearer {made.secret}", NOW + 300_000)
    with pytest.raises(Refusal) as caught:
        authenticator.authenticate(f"Bearer {made.secret}", NOW + 300_001)
    assert caught.value.code == "state_unavailable"


async def test_an_unknown_key_may_be_new_while_the_state_is_out_of_reach(
    database: Database,
) -> None:
    authenticator = await loaded(database)
    codes = []
    for now_ms in (NOW + BEHIND_MS, NOW + BEHIND_MS + 1):
        with pytest.raises(Refusal) as caught:
            authenticator.authenticate("Bearer sk-of-nobody-here", now_ms)
        codes.append(caught.value.code)
    assert codes == ["invalid_api_key", "state_unavailable"]


def test_an_authenticator_that_was_never_loaded_accepts_no_key() -> None:
    with pytest.raises(Refusal) as caught:
        Authenticator(stale_seconds=300).authenticate("Bearer sk-demo", NOW)
    assert caught.value.code == "state_unavailable"


async def test_a_revoked_key_is_refused_within_a_second_by_every_process(
    database: Database, database_url: str
) -> None:
    made = await team_with_key(database)
    elsewhere = open_engine(database_url)
    authenticator = await loaded(elsewhere)
    troubles: list[Exception] = []
    polling = asyncio.ensure_future(keep_fresh(authenticator, elsewhere, now, 0.4, troubles.append))
    await change(database, revoke_key, made.key.id, BY)
    began = time.monotonic()
    await _until(
        lambda: isinstance(_found_or_refused(authenticator, hash_secret(made.secret), NOW), str)
    )
    assert time.monotonic() - began < 1.0
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await elsewhere.close()
    assert troubles == []


async def test_polling_tells_of_trouble_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.db"
    path.parent.write_text("in the way")
    database = SqliteDatabase(path)
    authenticator = Authenticator(stale_seconds=300)
    troubles: list[Exception] = []
    polling = asyncio.ensure_future(keep_fresh(authenticator, database, now, 0.01, troubles.append))
    await _until(lambda: len(troubles) >= 2)
    assert all(isinstance(failure, StateUnavailable) for failure in troubles)
    assert authenticator.loaded_ms is None
    path.parent.unlink()
    await migrate(database)
    await _until(lambda: authenticator.loaded_ms is not None)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await database.close()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came about")


async def test_a_poller_misses_none_of_the_changes_that_are_made_at_once(
    database: Database, database_url: str
) -> None:
    other, authenticator = open_engine(database_url), Authenticator(stale_seconds=300)
    await change(database, create_team, "ops", FIVE_DOLLARS, BY)

    async def makes(engine: Database, begin: int) -> list[str]:
        names = [f"k{number}" for number in range(begin, begin + 15)]
        return [
            (await change(engine, create_key, "ops", name, AccountSettings(), BY)).secret
            for name in names
        ]

    makers = [
        asyncio.ensure_future(makes(engine, 100 * number))
        for number, engine in enumerate([database, other, database, other])
    ]
    while not all(maker.done() for maker in makers):
        await loaded(database, authenticator)
    await loaded(database, authenticator)
    for maker in makers:
        for secret in maker.result():
            found(authenticator, secret)
    await other.close()


@pytest.mark.parametrize("seed", range(4))
async def test_a_keyring_kept_up_to_date_equals_one_that_is_loaded_whole(
    database: Database, seed: int
) -> None:
    rng = random.Random(seed)
    kept = Authenticator(stale_seconds=300)
    secrets: list[str] = []
    for step in range(40):
        await _change_something(database, rng, secrets, Author("root", NOW + step))
        if rng.random() < 0.6:
            await loaded(database, kept)
    await loaded(database, kept)
    whole = await loaded(database)
    assert kept.change == whole.change
    for at_ms in (NOW, NOW + 20, NOW + 60, NOW + 100_000):
        hashes = [hash_secret(secret) for secret in secrets]
        assert [_found_or_refused(kept, each, at_ms) for each in hashes] == [
            _found_or_refused(whole, each, at_ms) for each in hashes
        ]


async def _change_something(
    database: Database, rng: random.Random, secrets: list[str], by: Author
) -> None:
    """One change at random; what can't be done is refused, which changes nothing."""
    team, key = f"t{rng.randrange(3)}", f"t{rng.randrange(3)}/k{rng.randrange(3)}"
    terms = AccountSettings(Limits(budget_nanos=rng.randrange(1, 9)))
    match rng.randrange(9):
        case 0 | 1:
            await _allowed(change(database, create_team, team, terms, by))
        case 2 | 3:
            name = key.partition("/")[2]
            made = await _allowed(change(database, create_key, team, name, AccountSettings(), by))
            secrets += [made.secret] if made else []
        case 4:
            rotated = await _allowed(change(database, rotate_key, key, by, grace_ms=30))
            secrets += [rotated.secret] if rotated else []
        case 5:
            await _allowed(change(database, revoke_key, key, by))
        case 6:
            await _allowed(change(database, update_team, team, lambda _: terms, by))
        case 7:
            await _allowed(change(database, rng.choice([pause, resume]), by, None))
        case _:
            if rng.random() < 0.2:
                await _allowed(change(database, archive_team, team, by))


async def _allowed(asked: Awaitable[R]) -> R | None:
    try:
        return await asked
    except AccountError:
        return None


def _found_or_refused(authenticator: Authenticator, hashed: str, at_ms: int) -> Caller | str:
    try:
        return authenticator.find(hashed, at_ms)
    except Refusal as refused:
        return refused.message
