"""Requests: a list of them, and what became of one."""

from __future__ import annotations

from gateway.accounts.rules.errors import NotFound
from gateway.accounts.tables.keys import show_key
from gateway.api.admin.inputs import Body, Query, RequestsQuery
from gateway.api.admin.ledger import days_of, team_asked
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import check_own
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.queries.models.read_model import ReadModel
from gateway.queries.models.request_status import RequestLineView
from gateway.queries.request_status import RequestStatus
from gateway.queries.tables.request_list import Maker, RequestFilter, list_requests


async def list_of_requests(
    tx: Transaction, request: AdminRequest[RequestsQuery, Body]
) -> ReadModel:
    query = request.query
    first_day, last_day = days_of(request)
    wanted = RequestFilter(
        first_day,
        last_day,
        team=await team_asked(tx, request) or "",
        key_id=request.key_id or await _key_id(tx, request),
        end_user=request.end_user or query.end_user,
        model=query.model,
        outcome=query.outcome or "",
        cost_nanos=query.cost_usd,
    )
    try:
        found = await list_requests(tx, wanted, after=query.after, limit=query.fetch)
    except ValueError:
        raise Refusal(
            "invalid_field", "after takes the `next` of the last page.", param="after"
        ) from None
    return page_of(found, query, RequestLineView.of, lambda each: each.cursor)


async def _key_id(tx: Transaction, request: AdminRequest[RequestsQuery, Body]) -> str:
    if not request.query.key:
        return ""
    try:
        key = await show_key(tx, request.query.key)
    except NotFound:
        check_own(request.team, "")  # one answer for unknown keys and those of other teams
        raise
    check_own(request.team, key.team)
    return key.id


async def show_request(status: RequestStatus, request: AdminRequest[Query, Body]) -> ReadModel:
    """Another team's request and an unknown one get the same answer."""

    def may_see(maker: Maker) -> bool:
        return (
            request.team in (None, maker.team)
            and request.key_id in ("", maker.key_id)
            and request.end_user in ("", maker.end_user)
        )

    return await status.read_any(request.path["id"], may_see)
