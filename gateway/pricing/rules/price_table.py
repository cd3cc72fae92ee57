"""The price table: rates per token and per picture, each valid from a day on.

Rates are nano-dollars per million tokens. The cost of a call is rounded up once, to a whole
nano-dollar, as a stated cost is: the ledger is never below the bill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product

from gateway.model.reservation import PriceKey
from gateway.model.token_usage import TokenUsage
from gateway.pricing.rules.image_tokens import Asked, ImageTokens

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Nano-dollars per million tokens of each kind."""

    text_in: int
    image_in: int
    cached_text_in: int
    cached_image_in: int
    text_out: int
    image_out: int

    def cost_nanos(self, usage: TokenUsage) -> int:
        """The cost of these tokens. Cached tokens are not paid for a second time as input."""
        nanos_of_a_million = (
            (usage.text_in - usage.cached_text_in) * self.text_in
            + usage.cached_text_in * self.cached_text_in
            + (usage.image_in - usage.cached_image_in) * self.image_in
            + usage.cached_image_in * self.cached_image_in
            + usage.text_out * self.text_out
            + usage.image_out * self.image_out
        )
        return -(-nanos_of_a_million // _MILLION)


RATE_NAMES = tuple(rate.name for rate in fields(TokenRates))
_INSTEAD = {
    "image_in": "text_in", "cached_text_in": "text_in", "cached_image_in": "image_in",
    "text_out": "image_out",
}  # fmt: skip
"""The rate that counts where a model has none of its own: never a lower one by guess."""


def token_rates(given: Mapping[str, int]) -> TokenRates:
    """Rates by name; a missing one is the one that it is a part of. Raises ValueError."""
    if not {"text_in", "image_out"} <= given.keys():
        raise ValueError("rates need at least text_in and image_out")
    rates = dict(given)
    for name, instead in _INSTEAD.items():
        rates.setdefault(name, rates[instead])
    return TokenRates(**rates)


@dataclass(frozen=True, slots=True)
class PicturePrice:
    """The price of one picture of this quality and size, in lower case; an empty text is any."""

    nanos: int
    quality: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """One entry: the price of a model from a day on, by tokens or by picture."""

    model: str
    valid_from: str
    source: str
    rates: TokenRates | None = None
    tokens: ImageTokens | None = None
    """How many tokens a picture can have; without it, no ceiling follows from the rates."""
    pictures: tuple[PicturePrice, ...] = ()

    def cost_nanos(self, usage: TokenUsage | None, key: PriceKey, n: int) -> int | None:
        """The cost of a call of `n` pictures; None where it doesn't follow from what is known."""
        if self.rates:
            return self.rates.cost_nanos(usage) if usage else None
        costs = self._possible(key.quality, key.size)
        return costs.pop() * n if len(costs) == 1 else None

    def most_nanos(self, asked: Asked) -> int | None:
        """The most that one picture of such a call can cost; None where that is not known."""
        if self.rates:
            return self.rates.cost_nanos(self.tokens.most(asked)) if self.tokens else None
        return max(
            self._possible(asked.quality, asked.size) or [each.nanos for each in self.pictures]
        )

    def cheapest(self) -> tuple[str, str]:
        """The quality and size of the cheapest picture; empty where there is none to choose."""
        if self.tokens:
            return self.tokens.fewest()
        picture = min(self.pictures, key=lambda each: each.nanos, default=PicturePrice(0))
        return picture.quality, picture.size

    def _possible(self, quality: str, size: str) -> set[int]:
        """The prices that such a picture may have: what is not chosen may be anything.

        Of the entries for one quality and size the most specific counts, by quality first.
        """
        qualities = {quality} if quality else {each.quality for each in self.pictures}
        sizes = {size} if size else {each.size for each in self.pictures}
        found = set()
        for one, other in product(qualities, sizes):
            fitting = [
                each
                for each in self.pictures
                if each.quality in ("", one) and each.size in ("", other)
            ]
            if fitting:
                found.add(max(fitting, key=lambda each: (each.quality, each.size)).nanos)
        return found


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All prices. `version` is kept with every cost that is computed from it."""

    version: str = ""
    source: str = ""
    prices: Mapping[str, Sequence[Price]] = field(default_factory=dict)
    """By the model's name, or by `upstream/model`, which is looked up first; oldest first."""

    def price_of(self, upstream: str, model: str, day: str) -> Price | None:
        """The price of a model on a day; None where it has none."""
        for name in (f"{upstream}/{model}", model):
            if valid := [each for each in self.prices.get(name, ()) if each.valid_from <= day]:
                return valid[-1]
        return None

    def cost_of(self, usage: TokenUsage | None, key: PriceKey, n: int, day: str) -> int | None:
        """The cost of a call on a day, in nano-dollars; None is unknown, never 0."""
        price = self.price_of(key.upstream, key.model, day)
        return price.cost_nanos(usage, key, n) if price else None
