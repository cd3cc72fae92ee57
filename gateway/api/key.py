"""`/v1/key` and `/v1/requests/{id}`: what the holder of a key may know of it and its requests."""

from __future__ import annotations

from gateway.api.responses import answer_json
from gateway.edits.pipeline import Pipeline
from gateway.queries.key_status import key_status
from gateway.queries.request_status import RequestStatus
from gateway.runtime.context import Context
from gateway.server.exchange import Exchange


class KeyEndpoints:
    def __init__(self, context: Context, pipeline: Pipeline, request_status: RequestStatus) -> None:
        self._context = context
        self._pipeline = pipeline
        self._request_status = request_status

    async def show_key(self, exchange: Exchange) -> None:
        caller = await self._pipeline.caller_asking(exchange.headers, exchange.address)
        zone, now_ms = self._context.settings.zone, self._context.clock()
        status = await key_status(caller, self._context.database, zone, now_ms)
        await answer_json(exchange, status.document())

    async def show_request(self, exchange: Exchange) -> None:
        caller = await self._pipeline.caller_asking(exchange.headers, exchange.address)
        status = await self._request_status.read(exchange.path_parameters["id"], caller)
        await answer_json(exchange, status.document())
