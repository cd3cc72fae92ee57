"""The fields of a request: names, repetition, canonical values, required fields."""

from __future__ import annotations

import re
import unicodedata
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
SCALARS = (
    NUMBERS
    | BOOLEANS
    | TEXTS
    | {
        "size",
        "aspect_ratio",
        "resolution",
        "quality",
        "background",
        "moderation",
        "complexity",
        "input_fidelity",
        "output_format",
        "response_format",
        "user",
        "safety_identifier",
    }
)
"""Fields with one value, which is text."""

_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?", re.ASCII)
MOST_IMAGES = 1_000
"""As many as one call may make; more can't be booked."""

_PICTURE_ROOTS = frozenset({"image", "images", "image_url", "image_urls", MASK})
_NEVER_FILES = frozenset({"images", "image_url", "image_urls"})
_PUNCTUATION = re.compile(r"[\s._\-\[]")
_FOLDED = {_PUNCTUATION.sub("", name): name for name in SCALARS | _PICTURE_ROOTS}
_TRUTH = {"true": "true", "1": "true", "false": "false", "0": "false"}
_PARTIAL_IMAGES = frozenset("0123")
LONGEST_MODEL = 128


def is_picture(name: str) -> bool:
    """True if the field must be a picture: a reference image or the mask."""
    return is_mask(name) or is_reference(name)


def is_mask(name: str) -> bool:
    """True for the mask's field: `mask`, `mask[]`, `mask[0]` …"""
    return name == MASK or (name.startswith(f"{MASK}[") and name.endswith("]"))


def root_of(name: str) -> str:
    """`layers` of `layers[0][x]`: readers of forms put the fields of one root together."""
    return name.partition("[")[0]


def check_source(route: Route, name: str) -> None:
    """Refuse a field whose picture would not be checked."""
    root = root_of(name)
    if route == "generations" and root in _PICTURE_ROOTS:
        raise Refusal(
            "unsupported_image_source",
            f"`{root}` is a picture, and a generation takes none. Send it as a file to "
            "/v1/images/edits, or leave it out.",
            param=root,
        )
    if root in _NEVER_FILES:
        raise Refusal(
            "unsupported_image_source",
            f"`{root}` is not accepted here. Send each picture itself as a file, e.g. "
            "-F 'image[]=@input.png'.",
            param=root,
        )


def may_repeat(name: str) -> bool:
    """True for the name of a list, which may be sent several times."""
    return "[]" in name or is_reference(name)


def check_name(name: str, max_bytes: int) -> None:
    """Refuse a field name that readers of forms may read in different ways."""
    if not name:
        raise Refusal("invalid_field", "A field has no name. Give every field a name.")
    if len(name.encode("utf-8", "surrogatepass")) > max_bytes:
        message = f"A field's name is longer than {max_bytes} bytes. Shorten it."
        raise Refusal("invalid_field", message)
    if not name.isprintable():
        message = "A field's name holds control or invisible characters. Remove them."
        raise Refusal("invalid_field", message)
    if '"' in name or "\\" in name:
        message = "A field's name holds a quotation mark or a backslash. Remove it."
        raise Refusal("invalid_field", message)
    if name not in SCALARS and not is_picture(name):
        _check_folded(name)


def _check_folded(name: str) -> None:
    """Refuse `N`, `n[]`, `n ` or `n.x`: an upstream may read them as `n`, besides `n` itself.

    Forms are read in many ways: `output.format` and `outputFormat` can be `output_format`.
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    for reading in (plain, re.split(r"[\[.]", plain.lstrip("["))[0].rstrip("]")):
        known = _FOLDED.get(_PUNCTUATION.sub("", reading))
        if known and not (known in _NEVER_FILES and known == root_of(name)):
            message = f"The field `{name}` can be read as `{known}`. Name it `{known}`."
            raise Refusal("invalid_field", message, param=name)


def canonical(name: str, text: str) -> str:
    """The text that goes upstream: line ends are LF, known numbers and booleans have one form."""
    if name in NUMBERS:
        return number_text(text)
    if name in BOOLEANS:
        return _TRUTH.get(text.lower(), text)
    return with_lf(text)


def with_lf(text: str) -> str:
    """The text with LF in place of CRLF and CR."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def is_true(text: str) -> bool:
    """True if the text of a boolean field means yes."""
    return _TRUTH.get(text.lower()) == "true"


def number_text(text: str) -> str:
    """`1`, `1.0` and `1e0` as `1`; any other text is unchanged."""
    if not _NUMBER.fullmatch(text):
        return text
    plain = format(Decimal(text), "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def images_asked(text: str) -> int:
    """The value of `n`. Raises Refusal unless it is a whole number from 1 to 1000."""
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
    """The text of a field, or None if it was not sent."""
    return next((text for field, text in fields if field == name), None)


def is_streaming(edit: Edit) -> bool:
    """True if the client wants events (`stream=true`)."""
    return is_true(value_of(edit.fields, "stream") or "")


def partial_images_asked(edit: Edit) -> int:
    """The number of partial pictures requested in a stream."""
    return int(number_text(value_of(edit.fields, "partial_images") or "0"))


def check_streaming(fields: Iterable[tuple[str, str]]) -> None:
    """Refuse a `stream` that is no boolean, and a `partial_images` that is not 0 to 3."""
    for name, text in fields:
        if name in BOOLEANS and text and text.lower() not in _TRUTH:
            raise Refusal("invalid_field", f"`{name}` must be true or false.", param=name)
        if name == "partial_images" and text and number_text(text) not in _PARTIAL_IMAGES:
            message = f"`{name}` must be a whole number from 0 to 3."
            raise Refusal("invalid_field", message, param=name)


def require(name: str, text: str | None) -> str:
    """The text of a required field. Raises `missing_field`."""
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
    """A complete Edit. Raises Refusal if something required is missing; an empty `n` is unset."""
    model = require("model", value_of(fields, "model"))
    if len(model) > LONGEST_MODEL or not model.isprintable():
        message = f"`model` is a model's name: at most {LONGEST_MODEL} printable characters."
        raise Refusal("invalid_field", message, param="model")
    require("prompt", value_of(fields, "prompt"))
    check_streaming(fields)
    n = value_of(fields, "n")
    edit = Edit(route, model, fields, uploads, document, body_bytes, images_asked(n) if n else 1)
    if route == "edits" and not edit.references:
        message = (
            "`image` is missing: an edit needs at least one picture. "
            "Send it as a file, e.g. -F 'image[]=@input.png'."
        )
        raise Refusal("missing_field", message, param="image")
    return edit
