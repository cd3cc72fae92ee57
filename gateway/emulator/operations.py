"""The words of a prompt that the emulator knows, and what each does to a picture.

Operations act in the order of the prompt, each once. A prompt without a known word tints the
picture in a colour derived from the prompt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Picture = Image.Image
Colour = tuple[int, int, int]


class Operation(NamedTuple):
    """A change of a picture, and the pattern of the words that ask for it."""

    name: str
    words: str
    apply: Callable[[Picture], Picture]


def _grey(picture: Picture) -> Picture:
    return ImageOps.grayscale(picture).convert("RGB")


def _sepia(picture: Picture) -> Picture:
    return ImageOps.colorize(ImageOps.grayscale(picture), (40, 26, 13), (255, 240, 192))


def _blur(picture: Picture) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(max(2, min(picture.size) // 60)))


def _edges(picture: Picture) -> Picture:
    return ImageOps.invert(_grey(picture.filter(ImageFilter.FIND_EDGES)))


def coarse(picture: Picture, block: int) -> Picture:
    """The picture in squares of `block` pixels."""
    width, height = picture.size
    small = picture.resize((max(1, width // block), max(1, height // block)), Image.Resampling.BOX)
    return small.resize((width, height), Image.Resampling.NEAREST)


OPERATIONS: tuple[Operation, ...] = (
    Operation("grey", r"gr[ae]y\w*|black[ -]and[ -]white|monochrome", _grey),
    Operation("sepia", r"sepia|vintage", _sepia),
    Operation("blur", r"blur\w*|out of focus", _blur),
    Operation(
        "sharpen", r"sharp\w*|crisp\w*", lambda p: p.filter(ImageFilter.UnsharpMask(2, 200, 2))
    ),
    Operation("edges", r"edges?|outlines?|sketch\w*", _edges),
    Operation("invert", r"invert\w*|negative", ImageOps.invert),
    Operation("upside_down", r"upside[ -]down", ImageOps.flip),
    Operation("mirror", r"mirror\w*|flip\w*", ImageOps.mirror),
    Operation("rotate", r"rotat\w*", lambda p: p.transpose(Image.Transpose.ROTATE_270)),
    Operation("brighter", r"bright\w*|lighter", lambda p: ImageEnhance.Brightness(p).enhance(1.5)),
    Operation("darker", r"dark\w*|night", lambda p: ImageEnhance.Brightness(p).enhance(0.6)),
    Operation(
        "contrast", r"contrast\w*|dramatic\w*", lambda p: ImageEnhance.Contrast(p).enhance(1.6)
    ),
    Operation(
        "vivid", r"vivid\w*|colou?rful\w*|saturat\w*", lambda p: ImageEnhance.Color(p).enhance(2)
    ),
    Operation("pixelate", r"pixel\w*|mosaic", lambda p: coarse(p, max(2, max(p.size) // 48))),
    Operation("posterize", r"poster\w*", lambda p: ImageOps.posterize(p, 2)),
    Operation("emboss", r"emboss\w*", lambda p: p.filter(ImageFilter.EMBOSS)),
)

_BY_NAME = {operation.name: operation for operation in OPERATIONS}
_WORDS = re.compile(
    r"\b(?:" + "|".join(f"(?P<{o.name}>{o.words})" for o in OPERATIONS) + r")\b", re.IGNORECASE
)


def named_in(prompt: str) -> tuple[Operation, ...]:
    """The operations of a prompt, in its order, none twice."""
    names = dict.fromkeys(found.lastgroup or "" for found in _WORDS.finditer(prompt))
    return tuple(_BY_NAME[name] for name in names)


def carried_out(prompt: str, picture: Picture) -> Picture:
    """The picture after every operation of the prompt."""
    operations = named_in(prompt)
    if not operations:
        return tinted(picture, colour_of(prompt), strength=0.5)
    for operation in operations:
        picture = operation.apply(picture)
    return picture


def colour_of(*words: object) -> Colour:
    """A colour that depends on the words alone."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return digest[0], digest[1], digest[2]


def tinted(picture: Picture, colour: Colour, strength: float) -> Picture:
    """The picture blended with one colour; its brightness is kept."""
    toned = ImageOps.colorize(ImageOps.grayscale(picture), "black", "white", mid=colour)
    return Image.blend(picture, toned, strength)
