"""The most tokens that a picture, a reference or a prompt can have, for the ceiling of a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.model.token_usage import TokenUsage

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_LARGEST_PIXELS = 3840 * 2160
_TEXT_OVERHEAD = 64
"""Text tokens that a provider adds to a prompt, and for each file: 6 to 41 were measured."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the tokens of a call depend on. Empty texts are not chosen, or `auto`."""

    quality: str = ""
    size: str = ""
    prompt_bytes: int = 0
    files: int = 0
    high_fidelity: bool = False
    partial_images: int = 0


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """The tokens of pictures of one family of models.

    `by_size` are the output tokens by quality and size, and an empty name is any. `grid` is
    instead the longer side of the token grid by quality, for models that take any size. Nothing
    chosen, or a name that is not known, counts as the dearest.
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

    def picture(self, quality: str, size: str) -> int:
        """The most output tokens of one picture."""
        if self.grid:
            longer = self.grid.get(quality, max(self.grid.values()))
            return _tokens_of_grid(longer, size)
        sizes = self.by_size.get(quality) or self.by_size.get("")
        if sizes is None:
            return max(most for each in self.by_size.values() for most in each.values())
        return sizes.get(size, max(sizes.values()))


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
