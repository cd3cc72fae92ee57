"""`/v1/models`: the models of all upstreams that the key may use, and their aliases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.api.responses import answer_json
from gateway.edits.pipeline import Pipeline
from gateway.model.errors import Refusal
from gateway.pricing.rules.ceilings import PriceCeilings
from gateway.queries.model_list import model_items
from gateway.server.exchange import Exchange
from gateway.upstream.catalogues import Catalogues


@dataclass(frozen=True, slots=True)
class ModelEndpoints:
    pipeline: Pipeline
    catalogues: Catalogues
    prices: PriceCeilings
    today: Callable[[], str]

    async def list_models(self, exchange: Exchange) -> None:
        items = await self._usable(exchange)
        await answer_json(exchange, {"object": "list", "data": list(items.values())})

    async def show_model(self, exchange: Exchange) -> None:
        items = await self._usable(exchange)
        model = exchange.path_parameters["model"]
        if model not in items:
            raise Refusal(
                "model_not_found",
                f"There is no model {model!r} that this key may use; GET /v1/models lists them.",
                param="model",
            )
        await answer_json(exchange, items[model])

    async def _usable(self, exchange: Exchange) -> Mapping[str, Mapping[str, Any]]:
        caller = await self.pipeline.caller_asking(exchange.headers, exchange.address)
        await self.catalogues.ensure_loaded()
        if not self.catalogues.items():
            raise Refusal(
                "upstream_unreachable",
                "The list of models has never been had from the upstream; try again shortly.",
                retry_after_seconds=5,
            )
        return model_items(self.catalogues, self.prices, self.today(), caller.accounts)
