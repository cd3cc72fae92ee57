"""Budgets, and the grants that raise them."""

from __future__ import annotations

from gateway.accounts.tables import accounts, grants
from gateway.accounts.tables.teams import show_team
from gateway.alerts import budget_requests
from gateway.api.admin.accounts import budgets_of
from gateway.api.admin.inputs import (
    Body,
    BudgetsQuery,
    GrantBody,
    GrantsQuery,
    Query,
    TeamRequestBody,
)
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import check_own, team_of
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.queries.models.budgets import GrantView
from gateway.queries.models.read_model import ReadModel


async def list_budgets(tx: Transaction, request: AdminRequest[BudgetsQuery, Body]) -> ReadModel:
    query = request.query
    team = team_of(request.team, query.team)
    found = await accounts.list_budgets(tx, team=team, after=query.after, limit=query.fetch)
    budgets = await budgets_of(tx, request, found)
    return page_of(found, query, lambda each: budgets[each.id], lambda each: each.id)


async def list_grants(tx: Transaction, request: AdminRequest[GrantsQuery, Body]) -> ReadModel:
    query = request.query
    team = team_of(request.team, query.team)
    found = await grants.list_grants(
        tx, team=team, ended=query.ended, after=query.after, limit=query.fetch
    )
    return page_of(found, query, GrantView.of, lambda each: each.id)


async def grant(tx: Transaction, request: AdminRequest[Query, GrantBody]) -> ReadModel:
    body, zone = request.body, request.settings.zone
    if body.request is not None:
        return GrantView.of(
            await grants.grant_request(
                tx, body.request, request.by, zone, nanos=body.usd, until_day=body.until
            )
        )
    if body.budget is None or body.usd is None:
        name = "budget" if body.budget is None else "usd"
        raise Refusal("missing_field", "Give budget and usd, or request.", param=name)
    return GrantView.of(await grants.grant(tx, body.budget, body.usd, body.until, request.by, zone))


async def ask(tx: Transaction, request: AdminRequest[Query, TeamRequestBody]) -> ReadModel:
    """Ask for more on a budget of one team, or of one of its keys."""
    body, settings = request.body, request.settings
    team = body.budget.partition("/")[0]
    check_own(request.team, team)
    owner = (await show_team(tx, team)).settings.owner
    asked = await budget_requests.ask(
        tx,
        budget_requests.Asker(team, owner),
        body.budget,
        body.usd,
        body.until,
        request.by,
        zone=settings.zone,
        channels=settings.channels,
        console_url=settings.server.console_url,
    )
    return GrantView.of(asked)


async def revoke(tx: Transaction, request: AdminRequest[Query, Body]) -> ReadModel:
    return GrantView.of(await grants.revoke_grant(tx, request.path["id"], request.by))
