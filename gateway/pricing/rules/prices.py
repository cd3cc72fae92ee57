"""Quotes: the most that a call can cost, reserved before its cost is known; plausible costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.model.caller import Caller
from gateway.model.edit import Edit
from gateway.model.reservation import CallFacts
from gateway.pricing.rules.image_tokens import Asked
from gateway.pricing.rules.price_table import PriceTable

MOST_TIMES_THE_PRICE = 10
"""How far above its price a picture's cost can be without stopping its model.

A cost above it stops the model until a person confirms the price. So one odd cost can't make each
further call hold so much that a month's budgets stand still.
"""

_LONGEST_OPTION = 32


PriceBasis = Literal["configured", "table", "default"]


@dataclass(frozen=True, slots=True)
class PictureCeiling:
    """The most that one picture of a call may cost, and where that is from."""

    nanos: int
    basis: PriceBasis


@dataclass(frozen=True, slots=True)
class PriceCeilings:
    """The most that one picture may cost: as configured, by the price table, or the default."""

    default_nanos: int
    by_model: Mapping[str, int]
    table: PriceTable = field(default_factory=PriceTable)

    def of(self, upstream: str, model: str, asked: Asked, day: str) -> PictureCeiling:
        """The ceiling of a model at an upstream for such a call on a day."""
        if model in self.by_model:
            return PictureCeiling(self.by_model[model], "configured")
        price = self.table.price_of(upstream, model, day)
        most = price.most_nanos(asked) if price else None
        return (
            PictureCeiling(self.default_nanos, "default")
            if most is None
            else PictureCeiling(most, "table")
        )

    def basis(self, upstream: str, model: str, day: str) -> PriceBasis:
        """Where the ceilings of a model are from."""
        return self.of(upstream, model, Asked(), day).basis


@dataclass(frozen=True, slots=True)
class Quote:
    """One upstream call to be paid for. `price_nanos` is the ceiling of one image.

    `by_tokens`: it is the most that the tokens of just such a call can cost, so that what other
    calls have cost does not raise it.
    """

    caller: Caller
    call: CallFacts
    price_nanos: int
    images: int
    by_tokens: bool = False

    def at_least(self, price_nanos: int | None) -> Quote:
        """The same call at a confirmed price, where that is higher."""
        return replace(self, price_nanos=max(self.price_nanos, price_nanos or 0))

    def ceiling_nanos(self, seen_nanos: int | None) -> int:
        """The amount to hold, where one image has lately cost up to `seen_nanos`."""
        return ceiling(self.price_nanos, None if self.by_tokens else seen_nanos, self.images)


def ceiling(price_nanos: int, seen_nanos: int | None, n: int) -> int:
    """The amount to reserve for `n` images.

    `price_nanos` is the configured ceiling of one image, `seen_nanos` the most that one image
    of this model has lately cost, or None. The larger one counts, up to MOST_TIMES_THE_PRICE
    times the price. If the price is 0, the seen cost is not bounded.
    """
    if price_nanos < 0 or n < 1:
        raise ValueError(f"a ceiling of {price_nanos} nano-dollars for {n} images makes no sense")
    seen = seen_nanos or 0
    if price_nanos:
        seen = min(seen, MOST_TIMES_THE_PRICE * price_nanos)
    return max(price_nanos, seen) * n


def plausible(cost_nanos: int | None, bound_nanos: int) -> int | None:
    """The stated cost, or None (unknown, never 0) if it is missing or implausible."""
    if cost_nanos is None or not 0 <= cost_nanos <= bound_nanos:
        return None
    return cost_nanos


def differ(stated_nanos: int | None, computed_nanos: int) -> bool:
    """Does a stated cost differ from the computed one by more than 1 %?"""
    return stated_nanos is not None and abs(stated_nanos - computed_nanos) * 100 > computed_nanos


def odd_price(cost_nanos: int, n: int, price_nanos: int) -> int | None:
    """What one image cost, if that is too far above its price for more such calls."""
    each = per_image(cost_nanos, n)
    return each if price_nanos and each > MOST_TIMES_THE_PRICE * price_nanos else None


def asked_of(edit: Edit) -> Asked:
    """What the tokens of an edit depend on."""
    chosen = {name: text.strip().lower() for name, text in edit.fields if text}
    prompts = [
        len(text.encode("utf-8", "surrogatepass")) for name, text in edit.fields if name == "prompt"
    ]
    partial_images = chosen.get("partial_images", "0")
    return Asked(
        **price_fields(edit.fields),
        prompt_bytes=sum(prompts) if prompts else len(edit.document),
        files=len(edit.uploads),
        high_fidelity=chosen.get("input_fidelity") == "high",
        partial_images=int(partial_images) if re.fullmatch("[0-9]{1,2}", partial_images) else 0,
    )


def price_fields(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The `quality` and `size` of an edit, as far as its price depends on them."""
    chosen = {name: text.strip().lower() for name, text in fields if text}
    size = chosen.get("size", "auto")
    if size == "auto":
        sides = [chosen[side] for side in ("width", "height") if side in chosen]
        size = chosen.get("resolution") or chosen.get("image_size") or "x".join(sides)
    quality = chosen.get("quality", "auto")
    return {
        "quality": "" if quality == "auto" else quality[:_LONGEST_OPTION],
        "size": size[:_LONGEST_OPTION],
    }


def per_image(cost_nanos: int, n: int) -> int:
    """The cost of one of `n` images, rounded up."""
    return -(-cost_nanos // n)
