"""The size of a picture, from any of the sizing fields."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.emulator.refusals import bad_field

Size = tuple[int, int]

LARGEST_SIDE = 4096
_LONG_SIDES: Mapping[str, int] = {"1K": 1024, "2K": 2048, "4K": 4096}
_PAIR = re.compile(r"(\d{1,5})\s*[xX×]\s*(\d{1,5})", re.ASCII)
_RATIO = re.compile(r"(\d{1,3})\s*:\s*(\d{1,3})", re.ASCII)


def asked_size(fields: Mapping[str, str]) -> Size | None:
    """The size in pixels; None leaves it to the provider. Raises Refused (400).

    The first of `width` and `height`, `size`, `image_size`, `resolution` that names a size wins;
    `aspect_ratio` applies to the sizes 1K, 2K and 4K.
    """
    if "width" in fields or "height" in fields:
        return _within("width", _side(fields, "width"), _side(fields, "height"))
    ratio = _aspect_ratio(fields)
    for name in ("size", "image_size", "resolution"):
        text = fields.get(name, "auto").strip()
        if text.lower() not in ("", "auto"):
            return _named(name, text, ratio or (1, 1))
    return _shaped(1024, ratio) if ratio else None


def _named(name: str, text: str, ratio: Size) -> Size:
    if text.upper() in _LONG_SIDES:
        return _shaped(_LONG_SIDES[text.upper()], ratio)
    if pair := _PAIR.fullmatch(text):
        return _within(name, int(pair[1]), int(pair[2]))
    raise bad_field(name, f"{name} must be auto, WIDTHxHEIGHT, 1K, 2K or 4K.")


def _side(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "").strip()
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII):
        raise bad_field(name, "width and height must both be given, as whole numbers of pixels.")
    return int(text)


def _aspect_ratio(fields: Mapping[str, str]) -> Size | None:
    text = fields.get("aspect_ratio", "auto").strip()
    if text.lower() in ("", "auto"):
        return None
    found = _RATIO.fullmatch(text)
    if not found or not int(found[1]) or not int(found[2]):
        raise bad_field("aspect_ratio", "aspect_ratio must be auto or like 16:9.")
    return int(found[1]), int(found[2])


def _shaped(long_side: int, ratio: Size) -> Size:
    across, down = ratio
    longer = max(across, down)
    return max(1, long_side * across // longer), max(1, long_side * down // longer)


def _within(param: str, width: int, height: int) -> Size:
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise bad_field(param, f"A picture's sides must be 1 to {LARGEST_SIDE} pixels.")
    return width, height
