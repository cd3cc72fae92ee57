"""The tokens that an answer's `usage` counts, in OpenAI's form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.model.token_usage import TokenUsage
from gateway.wire.json_cutter import Number

_COUNT = re.compile("[0-9]{1,15}")
_MOST_TOKENS = 999_999_999
"""More are no count of one call."""
_COUNTING = ("tokens", "details")
"""How the names of counts in `usage` end."""
_PICTURES: Mapping[str, Any] = MappingProxyType({"text_tokens": Number("0")})
"""The details of output that has none."""


class _Unknown(ValueError):
    """A count is missing, or is none."""


def usage_of(tree: Any) -> TokenUsage | None:
    """The tokens of an answer; None where they are not counted, or the counts can't be.

    Output without details is that of pictures. Of cached tokens without details, as many as
    there can be are text, whose discount is the smaller one.
    """
    try:
        return _usage(tree["usage"]) if counts_tokens(tree) else None
    except _Unknown:
        return None


def token_count(value: object) -> int | None:
    """A number of tokens as an answer states it; None where it is none."""
    return int(value) if isinstance(value, Number) and _COUNT.fullmatch(value) else None


def counts_tokens(tree: Any) -> bool:
    """Are there counts in the answer, of whatever form?"""
    usage = tree.get("usage") if isinstance(tree, Mapping) else None
    return isinstance(usage, Mapping) and "output_tokens" in usage


def without_tokens(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with counts of 0, and under `saved_usage` what they were."""
    usage = tree["usage"]
    counts = {name: value for name, value in usage.items() if name.split("_")[-1] in _COUNTING}
    return {**tree, "usage": {**usage, **_zeros(counts)}, "saved_usage": counts}


def _zeros(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _zeros(each) for name, each in value.items()}
    return Number("0") if isinstance(value, Number) else value


def _usage(usage: Mapping[str, Any]) -> TokenUsage:
    details = _details(usage, "input_tokens_details")
    text_in, image_in = _split(_count(usage, "input_tokens"), details)
    cached_text, cached_image = _cached(details, text_in)
    out_details = _details(usage, "output_tokens_details")
    text_out, image_out = _split(_count(usage, "output_tokens"), out_details or _PICTURES)
    if cached_text > text_in or cached_image > image_in or not text_out + image_out:
        raise _Unknown  # a picture has tokens: counts of 0 stand for none
    return TokenUsage(text_in, image_in, cached_text, cached_image, text_out, image_out)


def _split(total: int, details: Mapping[str, Any]) -> tuple[int, int]:
    """Text and image tokens. What the details leave out is of the kind that they don't name."""
    text = _count(details, "text_tokens") if "text_tokens" in details else 0
    if "image_tokens" in details:
        image = _count(details, "image_tokens")
    elif total and not details:
        raise _Unknown  # tokens of an untold kind can't be priced
    else:
        image = total - text
    if image < 0 or total - image < text:
        raise _Unknown
    return total - image, image


def _cached(details: Mapping[str, Any], text_in: int) -> tuple[int, int]:
    cached = _count(details, "cached_tokens") if "cached_tokens" in details else 0
    if by_kind := _details(details, "cached_tokens_details"):
        return _split(cached, by_kind)
    return min(cached, text_in), max(0, cached - text_in)


def _details(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = table.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _Unknown
    return found


def _count(table: Mapping[str, Any], name: str) -> int:
    count = token_count(table.get(name))
    if count is None or count > _MOST_TOKENS:
        raise _Unknown
    return count
