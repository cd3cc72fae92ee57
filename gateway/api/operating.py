"""`/healthz`, `/readyz` and `/metrics`: for whoever operates the gateway."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from gateway.accounts.rules.guess_throttle import GuessThrottle
from gateway.api.responses import answer_json
from gateway.model.errors import Refusal
from gateway.queries.models.read_model import ReadModel
from gateway.runtime.container import OperationServices
from gateway.runtime.process_context import ProcessContext
from gateway.server.exchange import Exchange


class HealthView(ReadModel):
    status: Literal["ok"] = "ok"


class ReadinessView(ReadModel):
    status: Literal["ready", "draining"]
    degraded: Annotated[
        list[str] | None,
        Field(
            description="The parts that do not work, although the gateway takes requests.",
            exclude_if=lambda value: value is None,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class OperatingEndpoints:
    context: ProcessContext
    operation: OperationServices
    _wrong_tokens: GuessThrottle = field(init=False, default_factory=GuessThrottle)

    async def show_health(self, exchange: Exchange) -> None:
        await answer_json(exchange, HealthView().document())

    async def show_readiness(self, exchange: Exchange) -> None:
        if self.operation.shutdown.in_progress:
            await answer_json(exchange, ReadinessView(status="draining").document(), 503)
            return
        view = ReadinessView(status="ready", degraded=self.operation.readiness.degraded())
        await answer_json(exchange, view.document())

    async def show_metrics(self, exchange: Exchange) -> None:
        """For the holder of the metrics token, or without one for this machine."""
        self._check_may_read_metrics(exchange)
        self.operation.gauges.update_process()
        accept = exchange.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(self.context.metrics.exposition, accept)
        await exchange.answer(200, {"content-type": content_type}, body)

    def _check_may_read_metrics(self, exchange: Exchange) -> None:
        token = self.context.settings.metrics.token.get_secret_value()
        if token:
            self._wrong_tokens.check(exchange.address, self.context.clock())
            sent = exchange.headers.get("authorization", "").removeprefix("Bearer ")
            allowed = hmac.compare_digest(sent.encode(), token.encode())
        else:
            allowed = exchange.is_of_this_machine
        if not allowed:
            self._wrong_tokens.failed(exchange.address, self.context.clock())
            raise Refusal(
                "permission_denied",
                "Metrics are read with the token of [metrics] token, or without one from this "
                "machine alone, as localhost.",
            )
