"""`/healthz` and `/readyz`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.api.responses import answer_json
from gateway.queries.models.read_model import ReadModel
from gateway.runtime.container import OperationParts
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


class HealthEndpoints:
    def __init__(self, operation: OperationParts) -> None:
        self._shutdown, self._readiness = operation.shutdown, operation.readiness

    async def show_health(self, exchange: Exchange) -> None:
        await answer_json(exchange, HealthView().document())

    async def show_readiness(self, exchange: Exchange) -> None:
        if self._shutdown.in_progress:
            await answer_json(exchange, ReadinessView(status="draining").document(), 503)
            return
        view = ReadinessView(status="ready", degraded=self._readiness.degraded())
        await answer_json(exchange, view.document())
