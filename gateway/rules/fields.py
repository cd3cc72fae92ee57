"""What is known of a request's fields: names, repetition, canonical values, what is required."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from gateway.errors import Refusal
from gateway.model import Edit, Route, Upload, is_reference

MASK = "mask"

NUMBERS = frozenset(
    {
        "n",
        "width",
        "height",
        "output_compression",
        "partial_images",
        "frame_count",
        "frame_duration_ms",
    }
)
BOOLEANS = frozenset({"stream"})

NOT_OF_THE_PICTURE = frozenset({"user", "safety_identifier", "stream", "partial_images"})
"""Fields that cannot change the picture, and so are no part of a fingerprint."""

_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?", re.ASCII)
_MOST_IMAGES = 1_000_000
_LONGEST_MODEL = 128


def is_picture(name: str) -> bool:
    """Must this field be a picture (a reference image or the mask)?"""
    return name == MASK or is_reference(name)


def may_repeat(name: str) -> bool:
    """Is this a list's name, of which several are no mistake?"""
    return "[]" in name or is_reference(name)


def check_name(name: str, max_bytes: int) -> None:
    """Refuse a field name that is empty, too long, or holds control characters."""
    if not name:
        raise Refusal("invalid_field", "A field has no name. Give every field a name.")
    if len(name.encode("utf-8", "surrogatepass")) > max_bytes:
        message = f"A field's name is longer than {max_bytes} bytes. Shorten it."
        raise Refusal("invalid_field", message)
    if not name.isprintable():
        message = "A field's name holds control or invisible characters. Remove them."
        raise Refusal("invalid_field", message)


def canonical(name: str, text: str) -> str:
    """One text for all spellings of a value that is known to be a number or a boolean."""
    if name in NUMBERS:
        return number_text(text)
    if name in BOOLEANS:
        return "true" if is_true(text) else "false"
    return text


def is_true(text: str) -> bool:
    """Is this text of a boolean field a yes?"""
    return text.strip().lower() in {"true", "1"}


def number_text(text: str) -> str:
    """`1`, `1.0` and `1e0` as `1`; text that is no plain number stays as it is."""
    if not _NUMBER.fullmatch(text):
        return text
    plain = format(Decimal(text), "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def images_asked(text: str) -> int:
    """The value of `n`. Raises Refusal where it is not a whole number of at least 1."""
    plain = number_text(text)
    if len(plain) <= 7 and plain.isascii() and plain.isdigit() and 1 <= int(plain) <= _MOST_IMAGES:
        return int(plain)
    message = "`n` must be a whole number of at least 1. Send n=1, or leave it out."
    raise Refusal("invalid_field", message, param="n")


def value_of(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The text of a field, None where it was not sent."""
    return next((text for field, text in fields if field == name), None)


def prompt_of(edit: Edit) -> str:
    """The exact prompt."""
    return value_of(edit.fields, "prompt") or ""


def is_streaming(edit: Edit) -> bool:
    """Does the client want events (`stream=true`)?"""
    return is_true(value_of(edit.fields, "stream") or "")


def partial_images_asked(edit: Edit) -> int:
    """How many partial pictures a stream is to show; 0 where that is no whole number."""
    plain = number_text(value_of(edit.fields, "partial_images") or "0")
    return int(plain) if len(plain) <= 3 and plain.isascii() and plain.isdigit() else 0


def require(name: str, text: str | None) -> str:
    """The text of a field that must be there and not be empty."""
    if text:
        return text
    raise Refusal("missing_field", f"`{name}` is missing or empty. Send it.", param=name)


def edit_of(
    route: Route,
    fields: tuple[tuple[str, str], ...],
    uploads: tuple[Upload, ...] = (),
    *,
    document: bytes = b"",
    body_bytes: int = 0,
) -> Edit:
    """A complete Edit of what was read. Raises Refusal where something required is missing."""
    model = require("model", value_of(fields, "model"))
    if len(model) > _LONGEST_MODEL or not model.isprintable():
        message = f"`model` is a model's name: at most {_LONGEST_MODEL} printable characters."
        raise Refusal("invalid_field", message, param="model")
    require("prompt", value_of(fields, "prompt"))
    n = value_of(fields, "n")
    asked = 1 if n is None else images_asked(n)
    edit = Edit(route, model, fields, uploads, document, body_bytes, asked)
    if route == "edits" and not edit.references:
        message = (
            "`image` is missing: an edit needs at least one picture. "
            "Send it as a file, e.g. -F 'image[]=@input.png'."
        )
        raise Refusal("missing_field", message, param="image")
    return edit
