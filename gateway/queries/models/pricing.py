"""The price of a model as JSON."""

from __future__ import annotations

from dataclasses import asdict

from gateway.model.money import usd
from gateway.pricing.rules.price_table import Price
from gateway.queries.models.read_model import Json


def pricing_of(price: Price) -> Json:
    """A price by tokens, or by picture, in dollars; what does not count is left out."""
    facts: Json = {"valid_from": price.valid_from}
    if price.rates:
        facts["usd_per_million_tokens"] = usd_per_million_tokens(price)
    if price.pictures:
        facts["usd_per_picture"] = [
            {"quality": each.quality or None, "size": each.size or None, "usd": usd(each.nanos)}
            for each in price.pictures
        ]
    return facts


def usd_per_million_tokens(price: Price | None) -> dict[str, str] | None:
    if price is None or price.rates is None:
        return None
    return {name: usd(nanos) for name, nanos in asdict(price.rates).items()}
