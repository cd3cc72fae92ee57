"""`/v1/key` and `/v1/requests/{id}`: what the holder of a key may know and ask for."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.tables.audit import Author
from gateway.accounts.tables.grants import GrantRecord
from gateway.alerts import budget_requests
from gateway.api.admin.inputs import BudgetRequestBody
from gateway.api.admin.request_input import body_of
from gateway.api.responses import answer_json
from gateway.database.database import Transaction
from gateway.edits.pipeline import Pipeline
from gateway.model.caller import Caller
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.queries.key_status import key_status
from gateway.queries.models.budgets import GrantView
from gateway.queries.models.read_model import ReadModel
from gateway.queries.request_status import RequestStatus
from gateway.runtime.process_context import ProcessContext
from gateway.server.exchange import Exchange
from gateway.telemetry.metrics import families


@dataclass(frozen=True, slots=True)
class KeyEndpoints:
    context: ProcessContext
    pipeline: Pipeline
    request_status: RequestStatus

    async def show_key(self, exchange: Exchange) -> None:
        caller = await self.pipeline.caller_asking(exchange.headers, exchange.address)
        zone, now_ms = self.context.settings.zone, self.context.clock()
        status = await key_status(caller, self.context.database, zone, now_ms)
        await answer_json(exchange, status.document())

    async def ask_for_budget(self, exchange: Exchange) -> None:
        caller = await self.pipeline.caller_asking(exchange.headers, exchange.address)
        body = await body_of(exchange.chunks(), BudgetRequestBody)
        asked = await ask_for_budget(self.context, caller, body)
        await answer_json(exchange, asked.document(), 201)

    async def show_request(self, exchange: Exchange) -> None:
        caller = await self.pipeline.caller_asking(exchange.headers, exchange.address)
        status = await self.request_status.read(exchange.path_parameters["id"], caller)
        await answer_json(exchange, status.document())


async def ask_for_budget(
    context: ProcessContext, caller: Caller, body: BudgetRequestBody, actor: str = ""
) -> ReadModel:
    """Ask for more money on a budget of the caller. `actor` is a person who has its key.

    Raises `permission_denied`, AccountError and StateUnavailable.
    """
    if caller.sandbox:
        raise Refusal("permission_denied", "A sandbox key spends nothing: ask with another.")
    settings = context.settings
    by = Author(actor or f"key:{caller.key_id}", context.clock(), body.reason)

    async def ask(tx: Transaction) -> GrantRecord:
        return await budget_requests.ask(
            tx,
            budget_requests.asker_of(caller),
            caller.budget_name(body.level),
            body.usd,
            body.until,
            by,
            zone=settings.zone,
            channels=settings.channels,
            console_url=settings.server.console_url,
        )

    asked = await context.database.write(ask)
    facts = {"request": asked.id, "budget": asked.budget, "usd": usd(asked.nanos)}
    context.log.warning("a grant is asked for", **facts)
    raised = (budget_requests.EVENT, "raised")
    context.metrics.counter(families.ALERTS).labels(*raised).inc()
    return GrantView.of(asked)
