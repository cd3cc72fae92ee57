"""Sign-in with an admin token or a key, and the sessions that follow from it.

A session is a row of the state, found by the hash of a random cookie. It is bound to the secret
that signed in: with each page, that secret must still be valid, by the rules of `/admin/v1` and
`/v1`. A cookie proves nothing to either of them.
"""

from __future__ import annotations

import hmac
import secrets

from gateway.accounts.authenticator import Authenticator
from gateway.accounts.credentials import hash_secret
from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.tokens import TokenRecord, find_token
from gateway.api.admin.token_holder import ROOT, Role, TokenHolder, holder_of
from gateway.console.tables.sessions import (
    SessionRecord,
    begin_session,
    end_session,
    find_session,
)
from gateway.console.visitor import Visit, Visitor
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.runtime.process_context import ProcessContext

SESSION_SECONDS = 12 * 3600


def new_visit() -> Visit:
    """The visit of a browser that has no cookie yet."""
    return Visit(secrets.token_urlsafe(32))


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, context: ProcessContext, authenticator: Authenticator) -> None:
        self._database, self._log, self._now_ms = context.database, context.log, context.clock
        self._authenticator = authenticator
        root = context.settings.admin.token.get_secret_value()
        self._root_hash = hash_secret(root) if root else ""
        self._throttle = GuessThrottle()

    async def visit_of(self, cookie: str) -> Visit:
        """The visit of a cookie, or of none. Raises StateUnavailable."""
        if not cookie:
            return new_visit()
        now_ms = self._now_ms()

        async def read(tx: Transaction) -> tuple[SessionRecord | None, TokenRecord | None]:
            found = await find_session(tx, hash_secret(cookie), now_ms)
            return found, await find_token(tx, found.credential) if found else None

        session, token = await self._database.read(read)
        return Visit(cookie, self._visitor(session.credential, token) if session else None)

    async def begin(self, secret: str, visit: Visit, address: str) -> Visit:
        """Sign in with a token or a key; the new visit has another cookie.

        Raises `invalid_api_key`, `too_many_failures` and StateUnavailable.
        """
        now_ms = self._now_ms()
        self._throttle.check(address, now_ms)
        credential = hash_secret(secret)
        token = await self._database.read(lambda tx: find_token(tx, credential))
        visitor = self._visitor(credential, token)
        if visitor is None:
            self._log.warning("console sign-in refused", address=address)
            self._throttle.failed(address, now_ms)
            raise Refusal(
                "invalid_api_key",
                "This is no valid admin token or API key: it is unknown, revoked or expired. "
                "Paste it whole, or ask for a new one.",
                param="secret",
            )
        begun = Visit(new_visit().cookie, visitor)
        session = SessionRecord(
            hash=hash_secret(begun.cookie),
            credential=credential,
            actor=visitor.holder.actor,
            begun_ms=now_ms,
            ends_ms=now_ms + SESSION_SECONDS * 1000,
        )
        replaces = hash_secret(visit.cookie)
        await self._database.write(lambda tx: begin_session(tx, session, replaces=replaces))
        return begun

    async def end(self, visit: Visit, visitor: Visitor) -> None:
        """Sign out."""
        by = Author(visitor.holder.actor, self._now_ms())
        await self._database.write(lambda tx: end_session(tx, hash_secret(visit.cookie), by))

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
        holder = TokenHolder(f"key:{caller.key_id}", Role.MEMBER, caller.team)
        return Visitor(holder, f"{caller.team}/{caller.key_name}", caller)
