"""Converts a JSON request to the fields and pictures of the equivalent multipart request.

`images: [{"image_url": "data:…"}]` and `mask` become files; other members become text fields,
named as the official clients name them in a form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from gateway.model.edit import is_reference
from gateway.model.errors import Refusal
from gateway.uploads.rules.data_url_decoder import RAW
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.wire.json_cutter import Cutter, LongString, Number, compact
from gateway.wire.request_fields import (
    BOOLEANS,
    MASK,
    NUMBERS,
    REFERENCES,
    TEXTS,
    is_mask,
    is_true,
    number_text,
)

Source = LongString | str
"""The data URL of a picture: cut out of the text, or (if short) part of it."""

_FILES = frozenset({MASK, "markup"})
_DEEPEST_NAME = 8
_LONGEST_SHOWN = 64


def parse_document(cutter: Cutter, limits: UploadLimits) -> Mapping[str, Any]:
    """The JSON object of a request. Raises Refusal."""
    if cutter.members > limits.max_document_members:
        raise Refusal("invalid_json", "The JSON body has too many members. Send fewer.")
    try:
        document = cutter.parse(pairs=_unique_members, constant=_no_constant)
    except ValueError as error:
        # The parser's messages contain positions, never content.
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        reason = "it is not UTF-8" if isinstance(error, UnicodeError) else reason
        raise Refusal("invalid_json", f"The body is not acceptable JSON: {reason}.") from None
    if not isinstance(document, Mapping):
        raise Refusal("invalid_json", 'The body must be a JSON object, e.g. {"model": …}.')
    return document


def edit_fields(
    document: Mapping[str, Any],
) -> tuple[list[tuple[str, str]], list[tuple[str, Source]]]:
    """The text fields and the pictures of an edit, each by its field's name. Raises Refusal."""
    fields: list[tuple[str, str]] = []
    pictures: list[tuple[str, Source]] = []
    for name, value in document.items():
        if value is None:
            continue
        if name == "images" or is_reference(name):
            items = value if isinstance(value, list) else [value]
            pictures += ((REFERENCES, _source(name, item)) for item in items)
        elif name in _FILES or is_mask(name):
            items = value if isinstance(value, list) and name not in _FILES else [value]
            pictures += ((name, _source(name, item)) for item in items)
        else:
            fields += _form_fields(name, value)
    return fields, pictures


def generation_fields(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One text field for each member; nested values as JSON. Raises Refusal."""
    fields: list[tuple[str, str]] = []
    for name, value in document.items():
        if name in TEXTS and (isinstance(value, Number) or not isinstance(value, str | None)):
            raise _invalid(name, 'must be text, in quotes: "…"')
        if isinstance(value, Mapping | list):
            fields.append((name, _nested(name, value)))
        elif value is not None:
            fields.append((name, _scalar(name, value)))
    return fields


def canonical_document(document: Mapping[str, Any]) -> bytes:
    """The JSON that goes upstream: sorted by name, known numbers and booleans canonical.

    All other values are unchanged: `1` and `"1"`, null and absent stay different. Raises
    Refusal if nested too deep.
    """
    members = {name: _canonical_value(name, document[name]) for name in sorted(document)}
    try:
        return compact(members).encode("ascii")
    except ValueError:
        raise Refusal("invalid_json", "The JSON body is nested too deep.") from None


def _canonical_value(name: str, value: Any) -> Any:
    if name in NUMBERS and isinstance(value, Number):
        return Number(number_text(value))
    if name in BOOLEANS and isinstance(value, str):
        return is_true(value)
    return value


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in members:
        if name in made:
            message = f"{_shown(name)} occurs more than once in one JSON object. Send it once."
            raise Refusal("duplicate_field", message, param=_param(name))
        made[name] = value
    return made


def _no_constant(written: str) -> NoReturn:
    raise ValueError(f"{written} is not a JSON number")


def _form_fields(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The form fields of a value: `a[b]` for members, `a[]` for each item of a list.

    Items with members of their own are numbered, as `a[][b]`, `a[][c]` is ambiguous.
    """
    if depth > _DEEPEST_NAME:
        raise _invalid(name, "is nested too deep")
    if isinstance(value, Mapping):
        for member, inner in value.items():
            yield from _form_fields(f"{name}[{member}]", inner, depth + 1)
    elif isinstance(value, list):
        plain = not any(isinstance(item, Mapping | list) for item in value)
        for place, item in enumerate(value):
            yield from _form_fields(f"{name}[{'' if plain else place}]", item, depth + 1)
    elif value is not None:
        yield name, _scalar(name, value)


def _nested(name: str, value: Any) -> str:
    try:
        return compact(value)
    except ValueError:
        raise _invalid(name, "is nested too deep") from None


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, LongString):
        raise _invalid(name, "contains a data URL; only images and mask may")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return number_text(value)
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _invalid(name, "contains a lone surrogate") from None
    return text


def _source(name: str, item: Any) -> Source:
    """The picture of `{"image_url": "data:…"}`, or of a plain string: a data URL or base64."""
    if isinstance(item, Mapping):
        if item.get("file_id") is not None:
            raise _unsupported(name)
        item = item.get("image_url")
        if isinstance(item, Mapping):
            item = item.get("url")
    if isinstance(item, LongString):
        return item
    if not isinstance(item, str) or isinstance(item, Number):
        raise _invalid(name, 'must be given as {"image_url": "data:image/png;base64,…"}')
    if item[:5].lower() != "data:" and not item.startswith(RAW):
        raise _unsupported(name)
    return item


def _unsupported(name: str) -> Refusal:
    return Refusal(
        "unsupported_image_source",
        f"{_shown(name)} is neither a data URL nor the base64 of a picture. URLs and file ids are "
        'not accepted: send the picture itself as {"image_url": "data:image/png;base64,…"}, or as '
        "multipart/form-data.",
        param=_param(name),
    )


def _invalid(name: str, why: str) -> Refusal:
    return Refusal("invalid_field", f"{_shown(name)} {why}.", param=_param(name))


def _shown(name: str) -> str:
    """The name of a member for a message, if printable."""
    return f"`{name}`" if _param(name) else "A member"


def _param(name: str) -> str | None:
    return name if name.isprintable() and 0 < len(name) <= _LONGEST_SHOWN else None
