"""`/v1/key` and `/v1/requests/{id}`: what the holder of a key may know of it and its requests."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.responses import answer_json
from gateway.edits.pipeline import Pipeline
from gateway.queries.key_status import key_status
from gateway.queries.request_status import RequestStatus
from gateway.runtime.process_context import ProcessContext
from gateway.server.exchange import Exchange


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

    async def show_request(self, exchange: Exchange) -> None:
        caller = await self.pipeline.caller_asking(exchange.headers, exchange.address)
        status = await self.request_status.read(exchange.path_parameters["id"], caller)
        await answer_json(exchange, status.document())
