"""The catalogues of all upstreams together: which models there are, and where each is bought."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.model.edit import ModelFacts
from gateway.model.errors import Refusal
from gateway.upstream.model_catalogue import Catalogue
from gateway.upstream.rules.routing import Listings, ModelRoute, Routing, Target

_UNLISTED: Mapping[str, Any] = {"object": "model", "created": 0, "owned_by": "upstream"}


@dataclass(frozen=True, slots=True)
class Catalogues:
    """The catalogues by upstream, in order, and the routes of the settings."""

    by_upstream: Mapping[str, Catalogue]
    routing: Routing

    @property
    def listings(self) -> Listings:
        return {
            name: catalogue.listing.items if catalogue.listing else None
            for name, catalogue in self.by_upstream.items()
        }

    def route(self, asked: str) -> ModelRoute | None:
        """Where a model is bought, by the last good catalogues; None where it is not known."""
        return self.routing.route(asked, self.listings)

    async def find(self, asked: str) -> ModelRoute:
        """Where a model is bought; an unknown one causes a refresh. Raises `model_not_found`."""
        if route := self.route(asked):
            return route
        model = self.routing.aliases.get(asked, asked)
        await asyncio.gather(*(each.exists(model) for each in self.by_upstream.values()))
        if route := self.route(asked):
            return route
        raise Refusal(
            "model_not_found",
            f"There is no model {asked!r}; GET /v1/models lists the models.",
            param="model",
        )

    def is_listed(self, asked: str) -> bool:
        """Is it the name of a model in a catalogue, or in the settings?"""
        model = self.routing.aliases.get(asked, asked)
        listings = self.listings.values()
        return model in self.routing.routes or any(model in (each or ()) for each in listings)

    def facts(self, target: Target, asked: str) -> ModelFacts | None:
        """The facts of a model at one upstream, under the name that was asked for."""
        facts = self.by_upstream[target.upstream].facts(target.name)
        return facts if facts is None or facts.id == asked else replace(facts, id=asked)

    async def ensure_loaded(self) -> None:
        """Fetch the catalogues if none was ever had."""
        if all(each.listing is None for each in self.by_upstream.values()):
            await asyncio.gather(*(each.refresh() for each in self.by_upstream.values()))

    def items(self) -> Mapping[str, Mapping[str, Any]]:
        """Each model as its first target's upstream lists it, with the upstream's name."""
        found = {}
        for name in self.routing.names(self.listings):
            if route := self.route(name):
                target = route.targets[0]
                listing = self.by_upstream[target.upstream].listing
                item = (listing and listing.items.get(target.name)) or _UNLISTED
                found[name] = {**item, "id": name, "upstream": target.upstream}
        return found

    @property
    def largest_reference_limit(self) -> int | None:
        """The most references that any model takes; None where one takes any number."""
        limits = [
            each.listing.largest_reference_limit if each.listing else None
            for each in self.by_upstream.values()
        ]
        return None if None in limits else max(limit for limit in limits if limit is not None)
