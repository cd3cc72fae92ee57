"""Keys of teams. A token of a team reaches its own alone, within that team's limits."""

from __future__ import annotations

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.rules.errors import NotFound
from gateway.accounts.rules.limits import limit_above_team
from gateway.accounts.tables import keys
from gateway.accounts.tables.audit import next_change
from gateway.accounts.tables.keys import KeyRecord, NewKey
from gateway.accounts.tables.teams import show_team
from gateway.api.admin.pagination import listing, page_of
from gateway.api.admin.permissions import check_own
from gateway.api.admin.request_input import AdminRequest, check_names
from gateway.database.database import Transaction
from gateway.model.caller import Limits
from gateway.model.errors import Refusal
from gateway.model.units import seconds_of
from gateway.queries.serializers import Facts, key_facts

USUAL_GRACE = "24h"
LONGEST_GRACE_SECONDS = 365 * 86400.0


async def list_keys(tx: Transaction, asked: AdminRequest) -> Facts:
    page = page_of(asked.query)
    team = asked.query.get("team", asked.confined_to)
    if team is not None:
        check_own(asked.confined_to, team)
    found = await keys.list_keys(
        tx,
        team=team,
        revoked=asked.flag("revoked"),
        after=f"key:{page.after}" if page.after else "",
        limit=page.fetch,
    )
    return listing(found, page, _key, lambda key: key.id)


async def create_key(tx: Transaction, asked: AdminRequest) -> Facts:
    named = asked.document.get("team") is not None or asked.confined_to is None
    team = asked.text("team") if named else str(asked.confined_to)
    check_own(asked.confined_to, team)
    terms = change_settings(AccountSettings(), "key", asked.rest("team", "name"))
    await next_change(tx)
    await _check_within(tx, asked, team, terms, AccountSettings())
    return _new(await keys.create_key(tx, team, asked.text("name"), terms, asked.by))


async def show_key(tx: Transaction, asked: AdminRequest) -> Facts:
    return _key(await _reached(tx, asked))


async def update_key(tx: Transaction, asked: AdminRequest) -> Facts:
    await next_change(tx)
    key = await _reached(tx, asked)
    old = key.account.settings
    new = change_settings(old, "key", asked.document)
    await _check_within(tx, asked, key.team, new, old)
    return _key(await keys.update_key(tx, key.id, lambda _: new, asked.by))


async def revoke_key(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, (), "field")
    key = await _reached(tx, asked)
    return _key(await keys.revoke_key(tx, key.id, asked.by))


async def rotate_key(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, ("grace",), "field")
    grace_ms = int(_grace_seconds(asked.document.get("grace", USUAL_GRACE)) * 1000)
    key = await _reached(tx, asked)
    return _new(await keys.rotate_key(tx, key.id, asked.by, grace_ms=grace_ms))


async def _reached(tx: Transaction, asked: AdminRequest) -> KeyRecord:
    """The key that the path names. A team's token can't tell another's key from none."""
    try:
        found = await keys.show_key(tx, asked.path["id"])
    except NotFound:
        check_own(asked.confined_to, "")
        raise
    check_own(asked.confined_to, found.team)
    return found


async def _check_within(
    tx: Transaction, asked: AdminRequest, team: str, new: AccountSettings, old: AccountSettings
) -> None:
    """Raises `permission_denied` for a limit above the team's, set by the team's own token."""
    if asked.confined_to is None:
        return
    above: Limits = (await show_team(tx, team)).settings.limits
    if name := limit_above_team(new.limits, above, old.limits):
        raise Refusal(
            "permission_denied",
            f"{name} would be above what the team {team!r} has itself; a token of the team sets "
            "its keys' limits within the team's.",
            param=name,
        )


def _grace_seconds(value: object) -> float:
    """How long an old secret lives on: seconds, or text such as `24h`."""
    try:
        seconds = float(str(seconds_of(value)))
    except ValueError:
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= LONGEST_GRACE_SECONDS:
        raise Refusal(
            "invalid_field",
            "grace is how long the old secret lives on, up to a year: seconds, or text such as "
            '"24h".',
            param="grace",
        )
    return seconds


def _key(key: KeyRecord) -> Facts:
    return {"object": "key", **key_facts(key)}


def _new(made: NewKey) -> Facts:
    """A key with its secret, this once."""
    return {**_key(made.key), "secret": made.secret}
