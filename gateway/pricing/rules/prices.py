"""Quotes: the most that a call can cost, reserved before its cost is known; plausible costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model.caller import Caller
from gateway.model.reservation import CallFacts

MOST_TIMES_THE_PRICE = 10
"""How far above its configured price a seen cost can raise a picture's ceiling.

Without this bound one odd cost, plausible enough to be booked, would make each further call
hold so much that a month's budgets stand still. A price that really rose this far is still
booked in full, as an overrun, until the configured price is corrected.
"""


@dataclass(frozen=True, slots=True)
class PriceCeilings:
    """The most that one image may cost, as configured."""

    default_nanos: int
    by_model: Mapping[str, int]

    def of(self, model: str) -> int:
        return self.by_model.get(model, self.default_nanos)


@dataclass(frozen=True, slots=True)
class Quote:
    """One upstream call to be paid for. `price_nanos` is the configured ceiling of one image."""

    caller: Caller
    call: CallFacts
    price_nanos: int
    images: int

    def ceiling_nanos(self, seen_nanos: int | None) -> int:
        """The amount to hold, where one image has lately cost up to `seen_nanos`."""
        return ceiling(self.price_nanos, seen_nanos, self.images)


def ceiling(price_nanos: int, seen_nanos: int | None, n: int) -> int:
    """The amount to reserve for `n` images.

    `price_nanos` is the configured ceiling of one image, `seen_nanos` the most that one image
    of this model has lately cost, or None. The larger one counts, up to MOST_TIMES_THE_PRICE
    times the configured price. If the configured price is 0, the seen cost is not bounded.
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


def per_image(cost_nanos: int, n: int) -> int:
    """The cost of one of `n` images, rounded up."""
    return -(-cost_nanos // n)
