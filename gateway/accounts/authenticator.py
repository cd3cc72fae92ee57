"""Authentication from memory: every key with its accounts, without a query per request.

The state is polled for changes several times a second, so that a revoked key or a changed limit
is in force within one second. While the state can't be read, known keys stay valid for a while.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.sandbox import in_sandbox
from gateway.accounts.tables.accounts import AccountRecord
from gateway.accounts.tables.secrets import AccountChanges, SecretRecord, load_changes
from gateway.database.database import Database
from gateway.model.caller import ORGANISATION, Caller
from gateway.model.errors import Refusal
from gateway.model.units import time_text

BEHIND_MS = 5_000


class Authenticator:
    """Keys by the hashes of their secrets, with their accounts.

    After `stale_seconds` without a successful read, no key is accepted. Sandbox keys have a rate
    of their own: `sandbox_rate` requests in a minute unless the key says otherwise.
    """

    def __init__(self, stale_seconds: float, sandbox_rate: int = 60) -> None:
        self._stale_ms = int(stale_seconds * 1000)
        self._accounts: dict[str, AccountRecord] = {}
        self._secrets: dict[str, SecretRecord] = {}
        self._hashes: dict[str, list[str]] = {}
        self._callers: dict[str, Caller] = {}
        self._sandbox_rate = sandbox_rate
        self._has_sandbox = False
        self.change = 0
        self.loaded_ms: int | None = None

    @property
    def key_count(self) -> int:
        """The number of keys in memory, including those that are no longer valid."""
        return len(self._hashes)

    @property
    def paused(self) -> str:
        """Whose spending is paused: "all teams", "2 teams" or ""."""
        paused = [each for each in self._accounts.values() if each.paused and not each.ended_ms]
        if any(each.level == "organisation" for each in paused):
            return "all teams"
        return f"{len(paused)} team{'s' * (len(paused) > 1)}" if paused else ""

    def is_stale(self, now_ms: int) -> bool:
        """Was the last successful read too long ago?"""
        return self.loaded_ms is None or now_ms - self.loaded_ms > self._stale_ms

    def is_behind(self, now_ms: int) -> bool:
        """Was the last successful read so long ago that reads seem to fail?"""
        return self.loaded_ms is None or now_ms - self.loaded_ms > BEHIND_MS

    def authenticate(self, authorization: str, now_ms: int, api_key: str = "") -> Caller:
        """The caller of an `Authorization: Bearer` or `api-key` header.

        Raises Refusal: `invalid_api_key`, or `state_unavailable` where the keys are stale, or the
        key is unknown and may be newer than the last read.
        """
        sent = _sent(authorization, api_key)
        if len(sent) > 1:
            raise Refusal(
                "invalid_api_key",
                "The headers Authorization and api-key carry different keys; send only one.",
                param="api-key",
            )
        if not sent:
            raise Refusal(
                "invalid_api_key",
                "Send your API key in the header `Authorization: Bearer YOUR_KEY` or "
                "`api-key: YOUR_KEY`.",
            )
        if self.is_stale(now_ms):
            raise Refusal(
                "state_unavailable",
                "The gateway can't read its database, so it can't check API keys: try again.",
            )
        secret_hash = hash_secret(sent.pop())
        if secret_hash not in self._secrets and self.is_behind(now_ms):
            raise Refusal(
                "state_unavailable",
                "This API key isn't known here, and the gateway can't read its database, which may "
                "have it: try again.",
            )
        return self.find(secret_hash, now_ms)

    def sandbox_key(self, authorization: str, api_key: str = "") -> AccountRecord | None:
        """The sandbox key that these headers carry, valid or not."""
        for text in _sent(authorization, api_key) if self._has_sandbox else ():
            if secret := self._secrets.get(hash_secret(text)):
                key = self._accounts[f"key:{secret.key_id}"]
                return key if key.settings.sandbox else None
        return None

    def find(self, secret_hash: str, now_ms: int) -> Caller:
        """The caller whose secret has that hash. Raises `invalid_api_key`.

        The timing of a plain look-up reveals no secret, because digests are compared.
        """
        secret = self._secrets.get(secret_hash)
        if secret is None:
            text = "This API key is unknown: check it, or ask for a new one."
            raise Refusal("invalid_api_key", text)
        key = self._accounts[f"key:{secret.key_id}"]
        if problem := self._problem_of(key, secret.valid_until_ms, now_ms):
            raise Refusal("invalid_api_key", f"The API key {key.name!r} {problem}")
        return self._caller_of(secret.key_id, key)

    def caller_of_key(self, key_id: str, now_ms: int) -> Caller:
        """The caller of a key by its id. Raises `invalid_api_key`."""
        key = self._accounts[f"key:{key_id}"]
        problem = self._problem_of(key, None, now_ms)
        if key.settings.sandbox:
            problem = "is a sandbox key, which buys nothing: name another."
        if problem:
            raise Refusal("invalid_api_key", f"The API key {key.name!r} {problem}")
        return self._caller_of(key_id, key)

    def key_account(self, key_id: str) -> AccountRecord:
        """The account of a key that is known."""
        return self._accounts[f"key:{key_id}"]

    def keep_inputs_of(self, team: str) -> str:
        """What the team's own setting keeps of its edits; empty where it has none."""
        found = self._accounts.get(f"team:{team}")
        return found.settings.keep_inputs if found else ""

    def key_named(self, team: str, name: str) -> str | None:
        """The id of the team's key of that name; None where it has none that is in use."""
        for account in self._accounts.values():
            if (account.name, account.parent) == (name, f"team:{team}") and not account.ended_ms:
                return account.id.removeprefix("key:")
        return None

    def apply(self, update: AccountChanges, now_ms: int) -> None:
        """Apply what was read from the state at `now_ms`."""
        self.loaded_ms = max(now_ms, self.loaded_ms or 0)
        if update.whole:
            self._accounts, self._secrets, self._hashes = {}, {}, {}
        elif update.change <= self.change:
            return  # no change, or a later read was applied first
        for account in update.accounts:
            self._accounts[account.id] = account
            if account.level == "key":
                self._forget_secrets(account.id.removeprefix("key:"))
        for secret in update.secrets:
            self._secrets[secret.hash] = secret
            self._hashes[secret.key_id].append(secret.hash)
        self._has_sandbox = any(each.settings.sandbox for each in self._accounts.values())
        self._callers.clear()  # built again on the next request
        self.change = update.change

    def _forget_secrets(self, key_id: str) -> None:
        for secret_hash in self._hashes.get(key_id, ()):
            del self._secrets[secret_hash]
        self._hashes[key_id] = []

    def _problem_of(self, key: AccountRecord, until_ms: int | None, now_ms: int) -> str | None:
        """The reason why a key is not valid, as the end of a sentence.

        `until_ms` is the end of its secret, if it has one.
        """
        expires_ms = key.settings.expires_ms
        team = self._accounts[key.parent or ""]
        if key.ended_ms is not None:
            return "is revoked: ask for a new one."
        if expires_ms is not None and expires_ms <= now_ms:
            return f"expired at {time_text(expires_ms)}: ask for a new one."
        if until_ms is not None and until_ms <= now_ms:
            when = time_text(until_ms)
            return f"has a new secret, and this one ended at {when}: use the new one."
        if team.ended_ms is not None:
            return (
                f"belongs to the team {team.name!r}, which is archived: ask for a key of another "
                "team."
            )
        return None

    def _caller_of(self, key_id: str, key: AccountRecord) -> Caller:
        caller = self._callers.get(key_id)
        if caller is None:
            team = self._accounts[key.parent or ""]
            caller = Caller(
                key_id=key_id,
                key_name=key.name,
                team=team.name,
                organisation_account=self._accounts[ORGANISATION].account,
                team_account=team.account,
                key_account=key.account,
                owner=team.settings.owner,
                cost_centre=team.settings.cost_centre,
                tags=key.settings.tags,
                keep_inputs=team.settings.keep_inputs,
            )
            if key.settings.sandbox:
                caller = in_sandbox(caller, self._sandbox_rate)
            self._callers[key_id] = caller
        return caller


def _sent(authorization: str, api_key: str) -> set[str]:
    """The secrets that a request carries: at most one, if it is as it should be."""
    scheme, _, secret = authorization.strip().partition(" ")
    bearer = secret.strip() if scheme.lower() == "bearer" else ""
    return {bearer, api_key.strip()} - {""}


async def refresh(
    authenticator: Authenticator, database: Database, now_ms: Callable[[], int]
) -> None:
    """Read the changes since the last read. Raises StateUnavailable."""
    began_ms = now_ms()
    load = functools.partial(load_changes, change=authenticator.change)
    authenticator.apply(await database.read(load), began_ms)


async def keep_fresh(
    authenticator: Authenticator,
    database: Database,
    now_ms: Callable[[], int],
    interval_seconds: float,
    on_error: Callable[[Exception], None],
) -> None:
    """Refresh periodically; errors are reported to `on_error`, and the next poll tries again."""
    while True:
        await asyncio.sleep(interval_seconds)
        try:
            await refresh(authenticator, database, now_ms)
        except Exception as error:  # noqa: BLE001 - any error: the next poll may succeed
            on_error(error)
