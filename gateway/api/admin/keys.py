"""The keys of teams. A team's token reaches its own keys only, within the team's limits."""

from __future__ import annotations

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.rules.errors import NotFound
from gateway.accounts.rules.limits import limit_above_team
from gateway.accounts.tables import keys
from gateway.accounts.tables.audit import next_change
from gateway.accounts.tables.keys import KeyRecord
from gateway.accounts.tables.teams import show_team
from gateway.api.admin.accounts import budgets_of
from gateway.api.admin.inputs import (
    Body,
    KeysQuery,
    NewKeyBody,
    Query,
    RotationBody,
    SettingsBody,
)
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import check_own, team_of
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.queries.models.accounts import key_view
from gateway.queries.models.read_model import ReadModel


async def list_keys(tx: Transaction, request: AdminRequest[KeysQuery, Body]) -> ReadModel:
    query = request.query
    found = await keys.list_keys(
        tx,
        team=team_of(request.team, query.team),
        revoked=query.revoked,
        after=f"key:{query.after}" if query.after else "",
        limit=query.fetch,
    )
    budgets = await budgets_of(tx, request, [key.account for key in found])
    return page_of(
        found,
        query,
        lambda key: key_view(key, budget=budgets[key.account.id]),
        lambda key: key.id,
    )


async def create_key(tx: Transaction, request: AdminRequest[Query, NewKeyBody]) -> ReadModel:
    team = team_of(request.team, request.body.team)
    if team is None:
        raise Refusal("missing_field", "Give team in the JSON body.", param="team")
    settings = change_settings(AccountSettings(), "key", request.body.given())
    await next_change(tx)
    await _check_within_team(tx, request.team, settings, AccountSettings())
    made = await keys.create_key(tx, team, request.body.name, settings, request.by)
    return await _view(tx, request, made.key, made.secret)


async def show_key(tx: Transaction, request: AdminRequest[Query, Body]) -> ReadModel:
    return await _view(tx, request, await _key(tx, request))


async def update_key(tx: Transaction, request: AdminRequest[Query, SettingsBody]) -> ReadModel:
    await next_change(tx)
    key = await _key(tx, request)
    old = key.account.settings
    new = change_settings(old, "key", request.body.given())
    await _check_within_team(tx, request.team, new, old)
    return await _view(tx, request, await keys.update_key(tx, key.id, lambda _: new, request.by))


async def revoke_key(tx: Transaction, request: AdminRequest[Query, Body]) -> ReadModel:
    key = await _key(tx, request)
    return await _view(tx, request, await keys.revoke_key(tx, key.id, request.by))


async def rotate_key(tx: Transaction, request: AdminRequest[Query, RotationBody]) -> ReadModel:
    key = await _key(tx, request)
    grace_ms = int(request.body.grace * 1000)
    made = await keys.rotate_key(tx, key.id, request.by, grace_ms=grace_ms)
    return await _view(tx, request, made.key, made.secret)


async def _view(
    tx: Transaction, request: AdminRequest[Query, Body], key: KeyRecord, secret: str | None = None
) -> ReadModel:
    budgets = await budgets_of(tx, request, [key.account])
    return key_view(key, secret, budgets[key.account.id])


async def _key(tx: Transaction, request: AdminRequest[Query, Body]) -> KeyRecord:
    """The key that the path names. A team's token gets one answer for unknown and foreign keys."""
    try:
        found = await keys.show_key(tx, request.path["id"])
    except NotFound:
        check_own(request.team, "")
        raise
    check_own(request.team, found.team)
    return found


async def _check_within_team(
    tx: Transaction, team: str | None, new: AccountSettings, old: AccountSettings
) -> None:
    """Raises `permission_denied` where a token of the team sets a limit above the team's."""
    if team is None:
        return
    above = (await show_team(tx, team)).settings.limits
    if name := limit_above_team(new.limits, above, old.limits):
        raise Refusal(
            "permission_denied",
            f"{name} would be above the limit of the team {team!r} itself; a token of the team "
            "sets its keys' limits within the team's.",
            param=name,
        )
