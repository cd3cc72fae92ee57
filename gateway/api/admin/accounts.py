"""The organisation and its teams, and the pause of spending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import organisation, teams
from gateway.accounts.tables.accounts import AccountRecord
from gateway.api.admin.inputs import Body, NewTeamBody, PauseBody, Query, SettingsBody, TeamsQuery
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import check_own
from gateway.database.database import Transaction
from gateway.queries.budgets import budget_views
from gateway.queries.models.accounts import account_view
from gateway.queries.models.budgets import BudgetView
from gateway.queries.models.read_model import ReadModel

AnyRequest = AdminRequest[Query, Body]
SettingsRequest = AdminRequest[Query, SettingsBody]


async def show_organisation(tx: Transaction, request: AnyRequest) -> ReadModel:
    return await _view(tx, request, await organisation.show_organisation(tx))


async def update_organisation(tx: Transaction, request: SettingsRequest) -> ReadModel:
    def edit(old: AccountSettings) -> AccountSettings:
        return change_settings(old, "organisation", request.body.given())

    return await _view(tx, request, await organisation.update_organisation(tx, edit, request.by))


async def list_teams(tx: Transaction, request: AdminRequest[TeamsQuery, Body]) -> ReadModel:
    query = request.query
    found = await teams.list_teams(
        tx,
        archived=query.archived,
        after=f"team:{query.after}" if query.after else "",
        limit=query.fetch,
    )
    budgets = await budgets_of(tx, request, found)
    return page_of(
        found, query, lambda team: _shown(request, team, budgets[team.id]), lambda team: team.name
    )


async def create_team(tx: Transaction, request: AdminRequest[Query, NewTeamBody]) -> ReadModel:
    defaults = AccountSettings(limits=request.settings.new_team)
    settings = change_settings(defaults, "team", request.body.given())
    made = await teams.create_team(tx, request.body.name, settings, request.by)
    return await _view(tx, request, made)


async def show_team(tx: Transaction, request: AnyRequest) -> ReadModel:
    check_own(request.team, request.path["name"])
    return await _view(tx, request, await teams.show_team(tx, request.path["name"]))


async def update_team(tx: Transaction, request: SettingsRequest) -> ReadModel:
    def edit(old: AccountSettings) -> AccountSettings:
        return change_settings(old, "team", request.body.given())

    changed = await teams.update_team(tx, request.path["name"], edit, request.by)
    return await _view(tx, request, changed)


async def archive_team(tx: Transaction, request: AnyRequest) -> ReadModel:
    return await _view(tx, request, await teams.archive_team(tx, request.path["name"], request.by))


async def pause(tx: Transaction, request: AdminRequest[Query, PauseBody]) -> ReadModel:
    return await _view(tx, request, await organisation.pause(tx, request.by, request.body.team))


async def resume(tx: Transaction, request: AdminRequest[Query, PauseBody]) -> ReadModel:
    return await _view(tx, request, await organisation.resume(tx, request.by, request.body.team))


async def budgets_of(
    tx: Transaction, request: AdminRequest[Query, Body], records: Sequence[AccountRecord]
) -> Mapping[str, BudgetView]:
    """The budgets of these accounts now, by the accounts' ids."""
    return await budget_views(tx, records, request.settings.zone, request.by.now_ms)


async def _view(tx: Transaction, request: AnyRequest, record: AccountRecord) -> ReadModel:
    return _shown(request, record, (await budgets_of(tx, request, [record]))[record.id])


def _shown(request: AnyRequest, record: AccountRecord, budget: BudgetView) -> ReadModel:
    return account_view(record, secrets=request.sees_secrets, budget=budget)
