"""Quotes: the most that a call can cost, reserved before its cost is known; plausible costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.model.caller import Caller
from gateway.model.edit import AdapterFacts, Edit
from gateway.model.reservation import CallFacts
from gateway.pricing.rules.image_tokens import Asked
from gateway.pricing.rules.price_table import PriceTable
from gateway.wire.multipart_writer import outgoing_fields
from gateway.wire.request_fields import partial_images_asked

MOST_TIMES_THE_PRICE = 10
"""How far above its price a picture's cost can be without stopping its model.

A cost above it stops the model until a person confirms the price. So one odd cost can't make each
further call hold so much that a month's budgets stand still.
"""

_PLAIN = re.compile("[!-~]{1,32}")
"""A name that every upstream reads alike."""


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
    defaults: Mapping[str, int] = field(default_factory=dict)
    """By upstream, in place of `default_nanos`."""

    def default_of(self, upstream: str) -> int:
        return self.defaults.get(upstream, self.default_nanos)

    def of(self, upstream: str, model: str, asked: Asked, day: str) -> PictureCeiling:
        """The ceiling of a model at an upstream for such a call on a day."""
        if model in self.by_model:
            return PictureCeiling(self.by_model[model], "configured")
        price = self.table.price_of(upstream, model, day)
        most = price.most_nanos(asked) if price else None
        return (
            PictureCeiling(self.default_of(upstream), "default")
            if most is None
            else PictureCeiling(most, "table")
        )

    def basis(self, upstream: str, model: str, day: str) -> PriceBasis:
        """Where the ceilings of a model are from."""
        return self.of(upstream, model, Asked(), day).basis


@dataclass(frozen=True, slots=True)
class Quote:
    """One upstream call to be paid for. `price_nanos` is the ceiling of one image.

    `by_table`: it is the most that just such a call can cost by the price table, so that of other
    calls only those that cost more than their ceiling raise it.
    """

    caller: Caller
    call: CallFacts
    price_nanos: int
    images: int
    by_table: bool = False

    def at_least(self, price_nanos: int | None) -> Quote:
        """The same call at a confirmed price, where that is higher."""
        return replace(self, price_nanos=max(self.price_nanos, price_nanos or 0))

    def ceiling_nanos(self, seen_nanos: int | None) -> int:
        """The amount to hold, where one image has lately cost up to `seen_nanos`."""
        return ceiling(self.price_nanos, seen_nanos, self.images)


def ceiling(price_nanos: int, seen_nanos: int | None, n: int) -> int:
    """The amount to reserve for `n` images.

    `price_nanos` is the ceiling of one image by the settings or the price table, `seen_nanos` the
    most that such an image has lately cost, or None. The larger one counts, up to
    MOST_TIMES_THE_PRICE times the price. If the price is 0, the seen cost is not bounded.
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


def asked_of(edit: Edit, facts: AdapterFacts) -> Asked:
    """What the cost of an edit depends on, as it goes upstream."""
    sent = outgoing_fields(edit, facts)
    prompts = [
        len(text.encode("utf-8", "surrogatepass")) for name, text in sent if name == "prompt"
    ]
    return Asked(
        **price_fields(sent),
        prompt_bytes=sum(prompts) if prompts else len(edit.document),
        files=len(edit.uploads),
        high_fidelity=dict(sent).get("input_fidelity", "low") != "low",
        partial_images=partial_images_asked(edit),
    )


def price_fields(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The `quality` and `size` of an edit, as far as its price depends on them."""
    sent = dict(fields)
    sides = "x".join(sent[side] for side in ("width", "height") if sent.get(side))
    sizes = [sent.get(name, "") for name in ("size", "resolution", "image_size")]
    return {"quality": _chosen(sent.get("quality", "")), "size": _chosen(*sizes, sides)}


def _chosen(*texts: str) -> str:
    """What these texts choose, in lower case; empty, so the dearest, if they say no one name.

    A blank or an unusual character may be dropped by the upstream, or make it ignore the text.
    """
    names = {text.lower() if text.isascii() else text for text in texts if text} - {"auto"}
    only = names.pop() if len(names) == 1 else ""
    return only if _PLAIN.fullmatch(only) else ""


def per_image(cost_nanos: int, n: int) -> int:
    """The cost of one of `n` images, rounded up."""
    return -(-cost_nanos // n)
