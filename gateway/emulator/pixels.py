"""Draws the pictures of a call. The same request gives the same bytes.

Everything here is slow and synchronous: call it off the event loop.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from gateway.emulator.operations import Picture, carried_out, coarse, colour_of, tinted
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import Asked
from gateway.emulator.sizing import Size

GENERATED_SIZE: Size = (1024, 1024)
_LONGEST_OWN_SIDE = 2048
_MOST_PIXELS = 64_000_000


class Encoded(NamedTuple):
    """A picture as a file; `size` is WIDTHxHEIGHT."""

    content: bytes
    format: str
    size: str


class Work(NamedTuple):
    """The pictures of a call, and before them rough versions of the first one."""

    partials: tuple[Encoded, ...]
    pictures: tuple[Encoded, ...]


def work(asked: Asked) -> Work:
    """Draw everything that is asked for. Raises Refused (400) if a file is not a picture."""
    first = edited(asked) if asked.route == "edits" else imagined(asked)
    colours = [colour_of(asked.prompt, "variation", i) for i in range(1, asked.n)]
    pictures = [first, *(tinted(first, colour, strength=0.35) for colour in colours)]
    steps = asked.partial_images if asked.stream else 0
    partials = [coarse(first, 2 ** (steps + 2 - step)) for step in range(steps)]
    return Work(
        tuple(encoded(partial, asked) for partial in partials),
        tuple(encoded(picture, asked) for picture in pictures),
    )


def edited(asked: Asked) -> Picture:
    """The references in one picture, edited by the prompt where the mask allows it."""
    references = [opened(content, "image") for content in asked.pictures]
    changed = carried_out(asked.prompt, collage(references))
    if asked.mask is not None:
        changed = _masked(references[0], changed, asked.mask)
    if asked.size:
        return _cover(changed, asked.size)
    changed.thumbnail((_LONGEST_OWN_SIDE, _LONGEST_OWN_SIDE))
    return changed


def imagined(asked: Asked) -> Picture:
    """An abstract picture that depends on the prompt alone."""
    prompt, size = asked.prompt, asked.size or GENERATED_SIZE
    dice = random.Random(ascii(prompt))
    sky = Image.linear_gradient("L").resize(size)
    picture = ImageOps.colorize(sky, colour_of(prompt, "top"), colour_of(prompt, "bottom"))
    brush = ImageDraw.Draw(picture)
    for stroke in range(dice.randint(5, 12)):
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        radius = min(size) * dice.uniform(0.05, 0.25)
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), colour_of(prompt, stroke))
    picture = picture.filter(ImageFilter.GaussianBlur(max(1, min(size) // 200)))
    return _cover(carried_out(prompt, picture), size)


def opened(content: bytes, param: str) -> Picture:
    """Decode a PNG, JPEG or WebP upright, onto white. Raises Refused (400)."""
    return _flat(ImageOps.exif_transpose(_decoded(content, param)))


def size_of(content: bytes) -> Size:
    """Width and height of a picture file. Raises Refused (400)."""
    return _decoded(content, "image").size


def collage(pictures: Sequence[Picture]) -> Picture:
    """The pictures in rows, in their order, on an area of the first one's size."""
    if len(pictures) == 1:
        return pictures[0]
    canvas = Image.new("RGB", pictures[0].size)
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    for y, row in enumerate(rows):
        top, bottom = (canvas.height * i // len(rows) for i in (y, y + 1))
        for x, picture in enumerate(row):
            left, right = (canvas.width * i // len(row) for i in (x, x + 1))
            canvas.paste(_cover(picture, (max(1, right - left), max(1, bottom - top))), (left, top))
    return canvas


def encoded(picture: Picture, asked: Asked) -> Encoded:
    """The picture as a file of the requested format."""
    file = io.BytesIO()
    if asked.output_format == "png":
        # Least compression: time matters more than size here.
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, asked.output_format.upper(), quality=asked.output_compression)
    return Encoded(file.getvalue(), asked.output_format, f"{picture.width}x{picture.height}")


def _decoded(content: bytes, param: str) -> Picture:
    try:
        picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))
        if picture.width * picture.height > _MOST_PIXELS:
            raise Refused(400, "invalid_image", "The image has too many pixels.", param)
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as broken:
        message = "The file is not an image that can be read; send PNG, JPEG or WebP."
        raise Refused(400, "invalid_image", message, param) from broken
    return picture


def _flat(picture: Picture) -> Picture:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")


def _masked(original: Picture, changed: Picture, mask: bytes) -> Picture:
    """The changed picture where the mask is transparent, the original where it is opaque."""
    veil = _decoded(mask, "mask")
    if not veil.has_transparency_data:
        raise Refused(400, "invalid_mask", "The mask needs an alpha channel.", "mask")
    if veil.size != original.size:
        message = "The mask must have the size of the first image."
        raise Refused(400, "invalid_mask", message, "mask")
    open_to_change = ImageChops.invert(veil.convert("RGBA").getchannel("A"))
    return Image.composite(_cover(changed, original.size), original, open_to_change)


def _cover(picture: Picture, size: Size) -> Picture:
    """Scaled and cropped to exactly this size."""
    return picture if picture.size == size else ImageOps.fit(picture, size)
