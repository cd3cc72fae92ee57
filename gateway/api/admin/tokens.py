"""Admin tokens, and the audit of changes."""

from __future__ import annotations

from gateway.accounts.tables import audit, tokens
from gateway.api.admin.inputs import AuditQuery, Body, NewTokenBody, Query, TokensQuery
from gateway.api.admin.pagination import page_of
from gateway.api.admin.request_input import AdminRequest
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.queries.models.accounts import ChangeView, NewTokenView, TokenView
from gateway.queries.models.read_model import ReadModel


async def list_tokens(tx: Transaction, request: AdminRequest[TokensQuery, Body]) -> ReadModel:
    query = request.query
    every = await tokens.list_tokens(tx, revoked=query.revoked)
    found = sorted((token for token in every if token.id > query.after), key=lambda token: token.id)
    return page_of(found, query, TokenView.of, lambda token: token.id)


async def create_token(tx: Transaction, request: AdminRequest[Query, NewTokenBody]) -> ReadModel:
    made = await tokens.create_token(tx, request.body.name, request.body.role, request.by)
    return NewTokenView.of({**TokenView.of(made.token).document(), "secret": made.secret})


async def revoke_token(tx: Transaction, request: AdminRequest[Query, Body]) -> ReadModel:
    return TokenView.of(await tokens.revoke_token(tx, request.path["id"], request.by))


async def list_audit(tx: Transaction, request: AdminRequest[AuditQuery, Body]) -> ReadModel:
    query = request.query
    found = await audit.list_audit(
        tx,
        since_ms=query.since,
        after=_number(query.after),
        subject=query.subject,
        limit=query.fetch,
        latest=query.latest,
    )
    return page_of(found, query, ChangeView.of, lambda row: str(row.id))


def _number(after: str) -> int:
    if not after:
        return 0
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise Refusal("invalid_field", "after takes the `next` of the last page.", param="after")
    return int(after)
