"""The models: what each can do, and the price of a picture."""

from __future__ import annotations

from dataclasses import dataclass

CENT = 10_000_000
"""Nano-dollars in a cent."""

_RELEASED = 1_780_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """One model; with `max_reference_images` 0 it can't edit. The price is of one picture."""

    id: str
    price_nanos: int
    max_reference_images: int
    max_n: int = 1

    @property
    def can_edit(self) -> bool:
        return self.max_reference_images > 0

    def item(self) -> dict[str, object]:
        """The model as an item of `GET /v1/models`, with DeepShi's top-level `edit` block."""
        edit: dict[str, object] = {"supported": self.can_edit}
        if self.can_edit:
            edit["max_reference_images"] = self.max_reference_images
        return {
            "id": self.id,
            "object": "model",
            "created": _RELEASED,
            "owned_by": "deepshi",
            "edit": edit,
            "max_n": self.max_n,
        }


MODELS: tuple[Model, ...] = (
    Model("deepshi-image-1", CENT, max_reference_images=5),
    Model("deepshi-banana-pro", 2 * CENT, max_reference_images=0),
    Model("deepshi-solo-1", CENT // 2, max_reference_images=1),
    Model("deepshi-collage-14", 4 * CENT, max_reference_images=14),
    Model("deepshi-multi-1", 3 * CENT, max_reference_images=3, max_n=4),
)
