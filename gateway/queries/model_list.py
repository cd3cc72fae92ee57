"""The models that a key may use, or all, with what is known of their prices and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.model.caller import Account
from gateway.model.money import usd
from gateway.pricing.rules.ceilings import PriceCeilings
from gateway.pricing.rules.image_tokens import Asked
from gateway.pricing.rules.price_table import Price
from gateway.queries.models.pricing import pricing_of
from gateway.upstream.catalogues import Catalogues
from gateway.upstream.rules.model_limits import may_use


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model as a person reads of it. `most_usd` is the most that one picture may cost.

    `price_known` is false where that is the default of the upstream.
    """

    name: str
    upstream: str
    can_edit: bool
    max_reference_images: int | None
    most_usd: str
    price_known: bool


def model_items(
    catalogues: Catalogues, prices: PriceCeilings, today: str, accounts: Sequence[Account] = ()
) -> Mapping[str, Mapping[str, Any]]:
    """The models as `GET /v1/models` lists them; of no accounts, all."""
    return {
        name: {**_pricing(catalogues, prices, name, today), **item}
        for name, item in catalogues.items().items()
        if may_use(name, accounts)
    }


def offered_models(
    catalogues: Catalogues, prices: PriceCeilings, today: str, accounts: Sequence[Account] = ()
) -> list[OfferedModel]:
    """The same models for a page, those that edit first."""
    found = []
    for name in catalogues.routing.names(catalogues.listings):
        route = catalogues.route(name)
        if route is None or not may_use(name, accounts):
            continue
        target = route.targets[0]
        facts = catalogues.facts(target, name)
        ceiling = prices.of(target.upstream, target.model, Asked(), today)
        found.append(
            OfferedModel(
                name=name,
                upstream=target.upstream,
                can_edit=facts is None or facts.edit_supported is not False,
                max_reference_images=facts.max_reference_images if facts else None,
                most_usd=usd(ceiling.nanos),
                price_known=ceiling.basis != "default",
            )
        )
    return sorted(found, key=lambda each: not each.can_edit)


def _pricing(
    catalogues: Catalogues, prices: PriceCeilings, name: str, today: str
) -> Mapping[str, Any]:
    """`pricing` by the price table; what the upstream's own list says of it comes first."""
    route = catalogues.route(name)
    target = route.targets[0] if route else None
    price: Price | None = None
    if target:
        price = prices.table.price_of(target.upstream, target.model, today)
    return {"pricing": pricing_of(price)} if price else {}
