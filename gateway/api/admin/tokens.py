"""Admin tokens, and the audit of what was changed with them and otherwise."""

from __future__ import annotations

from gateway.accounts.rules.field_types import parse_time
from gateway.accounts.tables import audit, tokens
from gateway.accounts.tables.audit import AuditRow
from gateway.accounts.tables.tokens import TokenRecord
from gateway.api.admin.pagination import listing, page_of
from gateway.api.admin.request_input import AdminRequest, check_names
from gateway.database.database import Transaction
from gateway.model.errors import Refusal
from gateway.queries.serializers import Facts, audit_facts, token_facts


async def list_tokens(tx: Transaction, asked: AdminRequest) -> Facts:
    page = page_of(asked.query)
    every = await tokens.list_tokens(tx, revoked=asked.flag("revoked"))
    found = sorted(every, key=lambda token: token.id)
    return listing(
        [token for token in found if token.id > page.after][: page.fetch],
        page,
        _token,
        lambda token: token.id,
    )


async def create_token(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, ("name", "role"), "field")
    made = await tokens.create_token(tx, asked.text("name"), asked.text("role"), asked.by)
    return {**_token(made.token), "secret": made.secret}


async def revoke_token(tx: Transaction, asked: AdminRequest) -> Facts:
    check_names(asked.document, (), "field")
    return _token(await tokens.revoke_token(tx, asked.path["id"], asked.by))


async def list_audit(tx: Transaction, asked: AdminRequest) -> Facts:
    page = page_of(asked.query)
    found = await audit.list_audit(
        tx,
        since_ms=parse_time("since", asked.query.get("since")) or 0,
        after=_number(page.after),
        subject=asked.query.get("subject"),
        limit=page.fetch,
    )
    return listing(found, page, _change, lambda row: str(row.id))


def _number(after: str) -> int:
    if not after:
        return 0
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise Refusal("invalid_field", "after is what the last page gave as next.", param="after")
    return int(after)


def _token(token: TokenRecord) -> Facts:
    return {"object": "token", **token_facts(token)}


def _change(row: AuditRow) -> Facts:
    return {"object": "change", "id": row.id, **audit_facts(row)}
