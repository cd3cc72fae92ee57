"""Who pays for an edit that a visitor makes: the key that has signed in, else the team's `console`.

The team's key is made with its first use and is a key like any other: it can be limited, paused and
revoked, and it counts in every report. Nobody knows its secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.authenticator import refresh
from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.rules.errors import NotFound
from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.keys import create_key, show_key
from gateway.console.page import PageRequest
from gateway.console.sessions import CONSOLE_KEY
from gateway.database.database import Transaction
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.runtime.container import Container


@dataclass(frozen=True, slots=True)
class PayingKey:
    """The paying key, and the person for whom it pays; empty where a key itself has signed in.

    `parts` make the edit: the gateway's, or its sandbox's, which costs nothing.
    """

    caller: Caller
    parts: Container
    person: str = ""


async def payer_of(request: PageRequest, team: str) -> PayingKey:
    """The key of a person is that of their own team; an administrator names the team.

    Raises `missing_field`, `permission_denied`, `invalid_api_key`, AccountError.
    """
    visitor = request.visitor
    if visitor.caller is not None:
        person = visitor.holder.actor if request.visit.is_person else ""
        return PayingKey(visitor.caller, await parts_of(request, visitor.caller), person)
    name = visitor.holder.team or team
    if not name:
        raise Refusal("missing_field", "Choose the team that pays.", param="team")
    authenticator, now_ms = request.parts.authenticator, request.context.clock()
    key_id = authenticator.key_named(name, CONSOLE_KEY) or await _made(request, name, now_ms)
    caller = authenticator.caller_of_key(key_id, now_ms)
    return PayingKey(caller, request.parts, visitor.holder.actor)


async def parts_of(request: PageRequest, caller: Caller | None) -> Container:
    """The parts that make the edits of a key, and store their pictures. Raises Refusal."""
    if caller is not None and caller.sandbox:
        return await request.sandbox.parts_for(caller)
    return request.parts


async def _made(request: PageRequest, team: str, now_ms: int) -> str:
    """The id of the team's key, which this process has not heard of yet."""
    by = Author(request.visitor.holder.actor, now_ms, "first use in the console")

    async def find_or_create(tx: Transaction) -> str:
        try:
            found = await show_key(tx, f"{team}/{CONSOLE_KEY}")
        except NotFound:
            return (await create_key(tx, team, CONSOLE_KEY, AccountSettings(), by)).key.id
        if found.account.ended_ms is not None:
            raise Refusal(
                "permission_denied",
                f"The key {team}/{CONSOLE_KEY} paid for edits made here, and is revoked: ask an "
                "administrator to make a new key of that name.",
                param="team",
            )
        return found.id

    key_id = await request.context.database.write(find_or_create)
    await refresh(request.parts.authenticator, request.context.database, request.context.clock)
    return key_id
