"""The words a prompt may hold, and what each does to a picture.

The words act in the order in which the prompt says them, each once; a prompt without any
tints the picture in a colour of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Picture = Image.Image
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Operation:
    """What to do, and the pattern of the words that ask for it."""

    name: str
    words: str
    apply: Callable[[Picture], Picture]


def grey(picture: Picture) -> Picture:
    return ImageOps.grayscale(picture).convert("RGB")


def sepia(picture: Picture) -> Picture:
    return ImageOps.colorize(ImageOps.grayscale(picture), (40, 26, 13), (255, 240, 192))


def blur(picture: Picture) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(max(2, min(picture.size) // 60)))


def sharpen(picture: Picture) -> Picture:
    return picture.filter(ImageFilter.UnsharpMask(radius=2, percent=200, threshold=2))


def edges(picture: Picture) -> Picture:
    return ImageOps.invert(grey(picture.filter(ImageFilter.FIND_EDGES)))


def rotate(picture: Picture) -> Picture:
    """A quarter turn clockwise."""
    return picture.transpose(Image.Transpose.ROTATE_270)


def brighter(picture: Picture) -> Picture:
    return ImageEnhance.Brightness(picture).enhance(1.5)


def darker(picture: Picture) -> Picture:
    return ImageEnhance.Brightness(picture).enhance(0.6)


def contrast(picture: Picture) -> Picture:
    return ImageEnhance.Contrast(picture).enhance(1.6)


def vivid(picture: Picture) -> Picture:
    return ImageEnhance.Color(picture).enhance(2.0)


def pixelate(picture: Picture) -> Picture:
    return coarse(picture, max(2, max(picture.size) // 48))


def posterize(picture: Picture) -> Picture:
    return ImageOps.posterize(picture, 2)


def emboss(picture: Picture) -> Picture:
    return picture.filter(ImageFilter.EMBOSS)


OPERATIONS: tuple[Operation, ...] = (
    Operation("grey", r"gr[ae]y\w*|black[ -]and[ -]white|monochrome", grey),
    Operation("sepia", r"sepia|vintage", sepia),
    Operation("blur", r"blur\w*|out of focus", blur),
    Operation("sharpen", r"sharp\w*|crisp\w*", sharpen),
    Operation("edges", r"edges?|outlines?|sketch\w*", edges),
    Operation("invert", r"invert\w*|negative", ImageOps.invert),
    Operation("upside_down", r"upside[ -]down", ImageOps.flip),
    Operation("mirror", r"mirror\w*|flip\w*", ImageOps.mirror),
    Operation("rotate", r"rotat\w*", rotate),
    Operation("brighter", r"bright\w*|lighter", brighter),
    Operation("darker", r"dark\w*|night", darker),
    Operation("contrast", r"contrast\w*|dramatic\w*", contrast),
    Operation("vivid", r"vivid\w*|colou?rful\w*|saturat\w*", vivid),
    Operation("pixelate", r"pixel\w*|mosaic", pixelate),
    Operation("posterize", r"poster\w*", posterize),
    Operation("emboss", r"emboss\w*", emboss),
)

_BY_NAME = {operation.name: operation for operation in OPERATIONS}
_WORDS = re.compile(
    r"\b(?:" + "|".join(f"(?P<{o.name}>{o.words})" for o in OPERATIONS) + r")\b", re.IGNORECASE
)


def named_in(prompt: str) -> tuple[Operation, ...]:
    """The operations a prompt asks for, in its order, none twice."""
    names = dict.fromkeys(found.lastgroup or "" for found in _WORDS.finditer(prompt))
    return tuple(_BY_NAME[name] for name in names)


def carried_out(prompt: str, picture: Picture) -> Picture:
    """The picture after everything the prompt says."""
    operations = named_in(prompt)
    if not operations:
        return tinted(picture, colour_of(prompt), strength=0.5)
    for operation in operations:
        picture = operation.apply(picture)
    return picture


def colour_of(*words: object) -> Colour:
    """A colour that depends on nothing but the words."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return digest[0], digest[1], digest[2]


def tinted(picture: Picture, colour: Colour, strength: float) -> Picture:
    """The picture drawn towards one colour, its light and shade kept."""
    toned = ImageOps.colorize(ImageOps.grayscale(picture), "black", "white", mid=colour)
    return Image.blend(picture, toned, strength)


def coarse(picture: Picture, block: int) -> Picture:
    """The picture in squares of `block` pixels."""
    width, height = picture.size
    small = picture.resize((max(1, width // block), max(1, height // block)), Image.Resampling.BOX)
    return small.resize((width, height), Image.Resampling.NEAREST)
