"""Sign-in with an admin token or a key, and the sessions that follow from it.

A session is a row of the state, found by the hash of a random cookie. It is bound to the secret
that signed in: with each page, that secret must still be valid, by the rules of `/admin/v1` and
`/v1`. A cookie proves nothing to either of them. The provider of single sign-on is asked about its
people again every hour.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import replace

from gateway.accounts.authenticator import Authenticator, refresh
from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.rules.end_users import Pseudonyms
from gateway.accounts.rules.errors import AccountError, NotFound
from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.accounts.tables import keys
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.tokens import TokenRecord, find_token
from gateway.api.admin.token_holder import ROOT, Role, TokenHolder, holder_of
from gateway.console.oidc import OidcProvider
from gateway.console.rules.person_roles import Person, holder_of_person
from gateway.console.rules.sign_in_rate import SignInRate
from gateway.console.tables.sessions import (
    PERSON,
    SessionRecord,
    VisitorRecord,
    begin_session,
    end_session,
    end_sessions_of,
    find_session,
    list_people,
)
from gateway.console.visitor import Visit, Visitor
from gateway.database.database import Transaction
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.runtime.process_context import ProcessContext

SESSION_SECONDS = 12 * 3600
RECHECK_SECONDS = 3600
"""How long a role of single sign-on is taken for granted."""
CONSOLE_KEY = "console"
"""The name of the key that pays for what people of a team try."""
_NOBODY = "(nobody)"
"""No end user has such a name."""


def new_visit() -> Visit:
    """The visit of a browser that has no cookie yet."""
    return Visit(secrets.token_urlsafe(32))


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(
        self,
        context: ProcessContext,
        authenticator: Authenticator,
        pseudonyms: Pseudonyms,
        provider: OidcProvider | None = None,
    ) -> None:
        self._database, self._log, self._now_ms = context.database, context.log, context.clock
        self._authenticator = authenticator
        root = context.settings.admin.token.get_secret_value()
        self._root_hash = hash_secret(root) if root else ""
        self._sso, self._pseudonyms, self.provider = context.settings.sso, pseudonyms, provider
        self.throttle, self._rate = GuessThrottle(), SignInRate()

    async def visit_of(self, cookie: str) -> Visit:
        """The visit of a cookie, or of none. Raises StateUnavailable."""
        if not cookie:
            return new_visit()
        now_ms = self._now_ms()

        async def read(tx: Transaction) -> tuple[SessionRecord | None, TokenRecord | None]:
            found = await find_session(tx, hash_secret(cookie), now_ms)
            return found, await find_token(tx, found.credential) if found else None

        session, token = await self._database.read(read)
        if session is None:
            return Visit(cookie)
        if session.credential == PERSON:
            return Visit(cookie, await self._known_person(session), is_person=True)
        return Visit(cookie, self._visitor(session.credential, token))

    async def begin(self, secret: str, visit: Visit, address: str) -> Visit:
        """Sign in with a token or a key; the new visit has another cookie.

        Raises `invalid_api_key`, `too_many_failures`, `rate_limit_exceeded` and StateUnavailable.
        """
        now_ms, credential = self._now_ms(), hash_secret(secret)
        token = await self._database.read(lambda tx: find_token(tx, credential))
        visitor = self._visitor(credential, token)
        if visitor is None or visitor.holder is ROOT:
            # The root token alone is chosen by a person. Who guesses it keeps nobody else out.
            self.throttle.check(address, now_ms)
        if visitor is None:
            self._log.warning("console sign-in refused", address=address)
            self.throttle.failed(address, now_ms)
            raise Refusal(
                "invalid_api_key",
                "This is no valid admin token or API key: it is unknown, revoked or expired. "
                "Paste it whole, or ask for a new one.",
                param="secret",
            )
        return await self._begin(visitor, visit, credential)

    async def begin_person(self, person: Person, visit: Visit) -> Visit:
        """Sign in a person whom the provider has named; the new visit has another cookie.

        Raises `permission_denied` for whom no row of `[sso] roles` matches, and StateUnavailable.
        """
        holder = holder_of_person(person, self._sso.roles)
        if holder is None:
            self._log.warning("console sign-in without a role", person=person.name)
            raise Refusal(
                "permission_denied",
                f"{person.name}, you have signed in, but no role here is yours: ask "
                f"{self._sso.contact} for one.",
            )
        if holder.role is Role.MEMBER and holder.team:
            await self._make_members_key(holder.team, Author(holder.actor, self._now_ms()))
        visitor = await self._visitor_of(person, holder)
        return await self._begin(visitor, visit, PERSON, json.dumps(list(person.groups)))

    async def _begin(
        self, visitor: Visitor, visit: Visit, credential: str, groups: str = "[]"
    ) -> Visit:
        begun, now_ms = Visit(new_visit().cookie, visitor), self._now_ms()
        if visitor.holder.role in (Role.TEAM, Role.MEMBER):
            self._rate.count(visitor.holder.actor, now_ms)
        session = SessionRecord(
            hash=hash_secret(begun.cookie),
            credential=credential,
            actor=visitor.holder.actor,
            begun_ms=now_ms,
            ends_ms=now_ms + SESSION_SECONDS * 1000,
            person_groups=groups,
        )
        replaces = hash_secret(visit.cookie)
        await self._database.write(lambda tx: begin_session(tx, session, replaces=replaces))
        return begun

    async def end(self, visit: Visit, visitor: Visitor) -> None:
        """Sign out."""
        by = Author(visitor.holder.actor, self._now_ms())
        await self._database.write(lambda tx: end_session(tx, hash_secret(visit.cookie), by))

    async def people(self) -> list[VisitorRecord]:
        """Who has signed in, the last first."""
        now_ms = self._now_ms()
        return await self._database.read(lambda tx: list_people(tx, now_ms))

    async def end_all_of(self, actor: str, visitor: Visitor) -> int:
        """Sign a person out everywhere. Returns the number of browsers."""
        by = Author(visitor.holder.actor, self._now_ms())
        return await self._database.write(lambda tx: end_sessions_of(tx, actor, by))

    async def _known_person(self, session: SessionRecord) -> Visitor | None:
        """The person of a session; None where the provider has to be asked again."""
        if self._now_ms() - session.begun_ms > RECHECK_SECONDS * 1000 or not self.provider:
            return None
        person = Person(session.actor.removeprefix("person:"), json.loads(session.person_groups))
        holder = holder_of_person(person, self._sso.roles)
        try:
            return await self._visitor_of(person, holder) if holder else None
        except Refusal:
            return None

    async def _visitor_of(self, person: Person, holder: TokenHolder) -> Visitor:
        """A member has the key of its team. Raises `permission_denied` where that is revoked."""
        if holder.role is not Role.MEMBER:
            return Visitor(holder, person.name)
        try:
            key = await self._database.read(
                lambda tx: keys.show_key(tx, f"{holder.team}/{CONSOLE_KEY}")
            )
            caller = await self._caller_of_key(key.id)
        except (NotFound, Refusal) as error:
            raise Refusal(
                "permission_denied",
                f"{person.name}, your team {holder.team} has no key "
                f"{CONSOLE_KEY!r} in use: ask {self._sso.contact}.",
            ) from error
        end_user = self._pseudonyms.of(holder.actor)
        own = replace(holder, key_id=key.id, end_user=end_user or _NOBODY)
        return Visitor(own, person.name, replace(caller, end_user=end_user))

    async def _caller_of_key(self, key_id: str) -> Caller:
        try:
            return self._authenticator.caller_of_key(key_id, self._now_ms())
        except KeyError:  # another process has just made it
            await refresh(self._authenticator, self._database, self._now_ms)
            return self._authenticator.caller_of_key(key_id, self._now_ms())

    async def _make_members_key(self, team: str, by: Author) -> None:
        """The key of a team's members, at first use; nobody learns its secret."""

        async def make(tx: Transaction) -> None:
            try:
                await keys.show_key(tx, f"{team}/{CONSOLE_KEY}")
            except NotFound:
                await keys.create_key(tx, team, CONSOLE_KEY, AccountSettings(), by)

        try:
            await self._database.write(make)
        except AccountError as error:
            raise Refusal(
                "permission_denied",
                f"{error.message} Ask {self._sso.contact} to correct [sso] roles.",
            ) from error

    def _visitor(self, credential: str, token: TokenRecord | None) -> Visitor | None:
        """The holder of the secret with this hash; None where it is not valid (any more)."""
        if self._root_hash and hmac.compare_digest(credential, self._root_hash):
            return Visitor(ROOT, "root")
        if token is not None:
            holder = holder_of(token) if self._root_hash else None
            return Visitor(holder, token.name) if holder else None
        try:
            caller = self._authenticator.find(credential, self._now_ms())
        except Refusal:
            return None
        holder = TokenHolder(f"key:{caller.key_id}", Role.MEMBER, caller.team, caller.key_id)
        return Visitor(holder, f"{caller.team}/{caller.key_name}", caller)
