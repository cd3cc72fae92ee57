"""The organisation and its teams, and the pause of spending."""

from __future__ import annotations

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import organisation, teams
from gateway.accounts.tables.accounts import AccountRecord
from gateway.api.admin.inputs import Body, NewTeamBody, PauseBody, Query, SettingsBody, TeamsQuery
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import check_own
from gateway.database.database import Transaction
from gateway.queries.models.accounts import account_view
from gateway.queries.models.read_model import ReadModel

AnyRequest = AdminRequest[Query, Body]
SettingsRequest = AdminRequest[Query, SettingsBody]


async def show_organisation(tx: Transaction, request: AnyRequest) -> ReadModel:
    return _view(request, await organisation.show_organisation(tx))


async def update_organisation(tx: Transaction, request: SettingsRequest) -> ReadModel:
    def edit(old: AccountSettings) -> AccountSettings:
        return change_settings(old, "organisation", request.body.given())

    return _view(request, await organisation.update_organisation(tx, edit, request.by))


async def list_teams(tx: Transaction, request: AdminRequest[TeamsQuery, Body]) -> ReadModel:
    query = request.query
    found = await teams.list_teams(
        tx,
        archived=query.archived,
        after=f"team:{query.after}" if query.after else "",
        limit=query.fetch,
    )
    return page_of(found, query, lambda team: _view(request, team), lambda team: team.name)


async def create_team(tx: Transaction, request: AdminRequest[Query, NewTeamBody]) -> ReadModel:
    defaults = AccountSettings(limits=request.settings.new_team)
    settings = change_settings(defaults, "team", request.body.given())
    return _view(request, await teams.create_team(tx, request.body.name, settings, request.by))


async def show_team(tx: Transaction, request: AnyRequest) -> ReadModel:
    check_own(request.team, request.path["name"])
    return _view(request, await teams.show_team(tx, request.path["name"]))


async def update_team(tx: Transaction, request: SettingsRequest) -> ReadModel:
    def edit(old: AccountSettings) -> AccountSettings:
        return change_settings(old, "team", request.body.given())

    return _view(request, await teams.update_team(tx, request.path["name"], edit, request.by))


async def archive_team(tx: Transaction, request: AnyRequest) -> ReadModel:
    return _view(request, await teams.archive_team(tx, request.path["name"], request.by))


async def pause(tx: Transaction, request: AdminRequest[Query, PauseBody]) -> ReadModel:
    return _view(request, await organisation.pause(tx, request.by, request.body.team))


async def resume(tx: Transaction, request: AdminRequest[Query, PauseBody]) -> ReadModel:
    return _view(request, await organisation.resume(tx, request.by, request.body.team))


def _view(request: AnyRequest, record: AccountRecord) -> ReadModel:
    return account_view(record, secrets=request.sees_secrets)
