"""What is known of a request's fields: names, repetition, canonical values, what is required."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from gateway.model.edit import Edit, Route, Upload, is_reference
from gateway.model.errors import Refusal

MASK = "mask"
REFERENCES = "image[]"
"""The name under which reference images go upstream."""

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
TEXTS = frozenset({"model", "prompt"})

NOT_OF_THE_PICTURE = frozenset({"user", "safety_identifier", "stream", "partial_images"})
"""Fields that cannot change the picture, and so are no part of a fingerprint."""

_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?", re.ASCII)
MOST_IMAGES = 1_000
"""As many as one call may make; more can't be booked."""

_PICTURE_ROOTS = frozenset({"image", "images", "image_url", "image_urls", "mask"})
_NEVER_FILES = frozenset({"images", "image_url", "image_urls"})
_TRUTH = {"true": "true", "1": "true", "false": "false", "0": "false"}
_PARTIAL_IMAGES = frozenset("0123")
LONGEST_MODEL = 128


def is_picture(name: str) -> bool:
    """Must this field be a picture (a reference image or the mask)?"""
    return is_mask(name) or is_reference(name)


def is_mask(name: str) -> bool:
    """Is this the name of the mask's field (`mask`, `mask[]`, `mask[0]` …)?"""
    return name == MASK or (name.startswith(f"{MASK}[") and name.endswith("]"))


def root_of(name: str) -> str:
    """`layers` of `layers[0][x]`: what a form's reader puts together belongs to one root."""
    return name.partition("[")[0]


def check_source(route: Route, name: str) -> None:
    """Refuse a field in which a picture would come round the checks of pictures."""
    root = root_of(name)
    if route == "generations" and root in _PICTURE_ROOTS:
        raise Refusal(
            "unsupported_image_source",
            f"`{root}` is a picture, and a generation takes none. Send it to /v1/images/edits, "
            "as a file, or leave it out.",
            param=root,
        )
    if root in _NEVER_FILES:
        raise Refusal(
            "unsupported_image_source",
            f"`{root}` is not taken here. Send each picture itself as a file, e.g. "
            "-F 'image[]=@input.png'.",
            param=root,
        )


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
    if '"' in name or "\\" in name:
        # Readers of forms do not agree on what they mean inside a quoted name.
        message = "A field's name holds a quotation mark or a backslash. Remove it."
        raise Refusal("invalid_field", message)


def canonical(name: str, text: str) -> str:
    """One text for all spellings of a value that is known to be a number or a boolean."""
    if name in NUMBERS:
        return number_text(text)
    if name in BOOLEANS:
        return _TRUTH.get(text.lower(), text)
    return text


def is_true(text: str) -> bool:
    """Is this text of a boolean field a yes?"""
    return _TRUTH.get(text.lower()) == "true"


def number_text(text: str) -> str:
    """`1`, `1.0` and `1e0` as `1`; text that is no plain number stays as it is."""
    if not _NUMBER.fullmatch(text):
        return text
    plain = format(Decimal(text), "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def images_asked(text: str) -> int:
    """The value of `n`. Raises Refusal where it is not a whole number from 1 to 1000."""
    plain = number_text(text)
    asked = int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 150 else 0
    if asked > MOST_IMAGES:
        raise Refusal(
            "unsupported_n",
            f"One request makes at most {MOST_IMAGES} pictures; send n={MOST_IMAGES} or fewer.",
            param="n",
            facts={"limit": MOST_IMAGES},
        )
    if asked:
        return asked
    message = "`n` must be a whole number of at least 1. Send n=1, or leave it out."
    raise Refusal("invalid_field", message, param="n")


def value_of(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The text of a field, None where it was not sent."""
    for field, text in fields:
        if field == name:
            return text
    return None


def prompt_of(edit: Edit) -> str:
    """The exact prompt."""
    return value_of(edit.fields, "prompt") or ""


def is_streaming(edit: Edit) -> bool:
    """Does the client want events (`stream=true`)?"""
    return is_true(value_of(edit.fields, "stream") or "")


def partial_images_asked(edit: Edit) -> int:
    """How many partial pictures a stream is to show."""
    return int(number_text(value_of(edit.fields, "partial_images") or "0"))


def check_streaming(fields: Iterable[tuple[str, str]]) -> None:
    """Refuse a `stream` that is no boolean, and a `partial_images` that is not 0 to 3."""
    for name, text in fields:
        if name in BOOLEANS and text.lower() not in _TRUTH:
            message = f"`{name}` must be true or false."
            raise Refusal("invalid_field", message, param=name)
        if name == "partial_images":
            plain = number_text(text)
            if plain not in _PARTIAL_IMAGES:
                message = f"`{name}` must be a whole number from 0 to 3."
                raise Refusal("invalid_field", message, param=name)


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
    if len(model) > LONGEST_MODEL or not model.isprintable():
        message = f"`model` is a model's name: at most {LONGEST_MODEL} printable characters."
        raise Refusal("invalid_field", message, param="model")
    require("prompt", value_of(fields, "prompt"))
    check_streaming(fields)
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
