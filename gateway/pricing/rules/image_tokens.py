"""The most tokens that a picture, a reference or a prompt can have, for the ceiling of a call."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.model.token_usage import TokenUsage

Item = TypeVar("Item")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_LARGEST_PIXELS = 3840 * 2160
_USUAL_SIZE = "1024x1024"
_TEXT_OVERHEAD = 64
"""Text tokens that a provider adds to a prompt, and for each file: 6 to 41 were measured."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the cost of a call depends on. Empty texts are not chosen, or `auto`."""

    quality: str = ""
    size: str = ""
    prompt_bytes: int = 0
    files: int = 0
    high_fidelity: bool = False
    partial_images: int = 0


USUAL = Asked(prompt_bytes=200, files=1)
"""A usual edit: what it leaves open counts as the dearest."""


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """The tokens of pictures of one family of models.

    `by_size` are the output tokens by quality and size, and an empty name is any other. `grid` is
    instead the longer side of the token grid by quality, for models that take any size. Nothing
    chosen, or a name that is not known, counts as the dearest. Names are in lower case.
    """

    by_size: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    grid: Mapping[str, int] = field(default_factory=dict)
    reference: int = 0
    """The most input tokens of one file."""
    reference_high: int = 0
    """The same with `input_fidelity=high`."""
    partial: int = 0
    """Output tokens of each partial image of a stream."""
    text_out: int = 0
    """The most text that is charged with a picture."""

    def most(self, asked: Asked) -> TokenUsage:
        """The most tokens that one picture of this call can be charged for.

        A prompt has at most one token a byte. Where `n` pictures are asked for, the input may be
        charged for each of them.
        """
        reference = self.reference_high if asked.high_fidelity else self.reference
        return TokenUsage(
            text_in=asked.prompt_bytes + _TEXT_OVERHEAD * (1 + asked.files),
            image_in=asked.files * max(reference, self.reference),
            text_out=self.text_out,
            image_out=self.picture(asked.quality, asked.size) + asked.partial_images * self.partial,
        )

    def fewest(self) -> tuple[str, str]:
        """The quality and size of the picture with the fewest output tokens."""
        if self.grid:
            return min(self.grid, key=lambda quality: self.grid[quality]), _USUAL_SIZE
        return min(
            ((quality, size) for quality, sizes in self.by_size.items() for size in sizes),
            key=lambda chosen: self.by_size[chosen[0]][chosen[1]],
        )

    def picture(self, quality: str, size: str) -> int:
        """The most output tokens of one picture."""
        if self.grid:
            return _tokens_of_grid(max(_possible(self.grid, quality)), size)
        return max(max(_possible(sizes, size)) for sizes in _possible(self.by_size, quality))


def _possible(items: Mapping[str, Item], name: str) -> Collection[Item]:
    """The item of a chosen name, or of any other; all where none is chosen or known."""
    found = [items[each] for each in (name, "") if name and each in items]
    return found[:1] or items.values()


def _tokens_of_grid(longer: int, size: str) -> int:
    """The tokens of a grid in the shape of the picture, with more for each pixel."""
    width, height = (
        (int(side) for side in found.groups()) if (found := _SIZE.fullmatch(size)) else (0, 0)
    )
    if not width or not height or width * height > _LARGEST_PIXELS:
        return _rounded_up(longer * longer * (2_000_000 + _LARGEST_PIXELS), 4_000_000)
    long, short = max(width, height), min(width, height)
    shorter = (2 * longer * short + long) // (2 * long)
    return _rounded_up(longer * shorter * (2_000_000 + width * height), 4_000_000)


def _rounded_up(number: int, divisor: int) -> int:
    return -(-number // divisor)
