"""Prices of targets: each as the model that it stands under, unless the settings say otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from decimal import Decimal

from gateway.pricing.rules.price_table import (
    PicturePrice,
    Price,
    PriceTable,
    TokenRates,
    token_rates,
)

SETTING = "[prices.targets]"
_MILLION = 1_000_000
_SINCE_EVER = "0001-01-01"


class BadTargetPrice(Exception):
    """The price of a target makes no sense; the message names the target."""


@dataclass(frozen=True, slots=True)
class TargetPrice:
    """What the settings say of the price of a target: rates, prices by picture, or a discount."""

    rates: Mapping[str, int] = field(default_factory=dict)
    """Those that differ from the model's, in nano-dollars per million tokens."""
    pictures: tuple[PicturePrice, ...] = ()
    discount_percent: Decimal = Decimal(0)
    """At most four decimals."""
    valid_from: str = ""
    """The first day; the model's price counts before it. Empty: since ever."""

    def over(self, prices: Sequence[Price], target: str) -> tuple[Price, ...]:
        """The prices of the target in place of the model's, oldest first. Raises ValueError."""
        day = self.valid_from or _SINCE_EVER
        before = [price for price in prices if price.valid_from < day]
        later = [price for price in prices if price.valid_from >= day]
        if not later or (before and later[0].valid_from > day):
            last = before[-1] if before else Price(target, day, "")
            later.insert(0, replace(last, valid_from=day))
        return (*before, *map(self._changed, later))

    def _changed(self, price: Price) -> Price:
        if self.pictures:
            return replace(price, source=SETTING, rates=None, tokens=None, pictures=self.pictures)
        if self.rates:
            model_rates = asdict(price.rates) if price.rates else {}
            merged = token_rates({**model_rates, **self.rates})
            return replace(price, source=SETTING, rates=merged, pictures=())
        if not price.rates and not price.pictures:
            raise ValueError(
                "there is no price to take a discount from: name the target in [models.NAME] "
                "targets, whose price it then has, or give rates"
            )
        rates = price.rates and TokenRates(*map(self._less, astuple(price.rates)))
        return replace(
            price,
            source=f"{price.source}, less {self.discount_percent.normalize():f} % ({SETTING})",
            rates=rates,
            pictures=tuple(replace(each, nanos=self._less(each.nanos)) for each in price.pictures),
        )

    def _less(self, nanos: int) -> int:
        """The amount less the discount, rounded up to a whole nano-dollar."""
        paid_millionths = _MILLION - int(self.discount_percent * (_MILLION // 100))
        return -(-nanos * paid_millionths // _MILLION)


def price_targets(
    table: PriceTable,
    targets: Iterable[tuple[str, str, str]],
    given: Mapping[str, TargetPrice],
) -> PriceTable:
    """The table with the prices of targets, each an upstream, its name of a model, and the model.

    `given` is what the settings say, by `upstream/name`. It is part of the table's version.
    Raises BadTargetPrice.
    """
    every = list(targets)
    for target in given.keys() - {f"{upstream}/{name}" for upstream, name, _ in every}:
        upstream, _, name = target.partition("/")
        every.append((upstream, name, name))
    found: dict[str, Sequence[Price]] = {}
    for upstream, name, model in every:
        target, priced = f"{upstream}/{name}", f"{upstream}/{model}"
        prices = next(
            (table.prices[each] for each in (target, priced, model, name) if each in table.prices),
            (),
        )
        if own := given.get(target):
            try:
                prices = own.over(prices, target)
            except ValueError as error:
                raise BadTargetPrice(f'[prices.targets."{target}"]: {error}') from None
        if prices and found.setdefault(priced, prices) != prices:
            raise BadTargetPrice(
                f"{target} and another target of {model} at {upstream} have different prices: "
                "give them one price, or make two upstreams of them"
            )
    return replace(table, version=table.version + _mark_of(given), prices={**table.prices, **found})


def _mark_of(given: Mapping[str, TargetPrice]) -> str:
    """A mark made of the settings, as a version stands for prices that never change."""
    text = repr(sorted(given.items(), key=lambda item: item[0]))
    return f"+{hashlib.sha256(text.encode()).hexdigest()[:8]}" if given else ""
