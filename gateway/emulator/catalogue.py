"""What is known of a model: what it can do, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.emulator.billing import Rates

CENT = 10_000_000
"""Nano-dollars in a cent."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model; with `max_reference_images` 0 it can't edit.

    It costs `price_nanos` for each picture, or is billed by the token where it has `rates`.
    """

    id: str
    price_nanos: int
    max_reference_images: int
    max_n: int = 1
    rates: Rates | None = None

    @property
    def can_edit(self) -> bool:
        return self.max_reference_images > 0
