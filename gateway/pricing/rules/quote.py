"""What an upstream call is reserved at, before its cost is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model.caller import Caller
from gateway.model.reservation import CallFacts
from gateway.pricing.rules.prices import ceiling


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
