"""The schemas of an account's settings, made from the tables of its fields and limits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.accounts.rules.account_settings import fields_of
from gateway.accounts.rules.field_types import LARGEST_COUNT, MOST_MODELS, AccountField
from gateway.accounts.rules.limits import LIMITS, Combine
from gateway.api.openapi.shapes import (
    COUNT,
    FLAG,
    MOMENT,
    TEXT,
    TEXTS,
    Schema,
    listed,
    maybe,
    one_of,
    ref,
    told,
)
from gateway.model.caller import PERIODS, Level
from gateway.queries.key_status import SHOWN_WITH_USE

LINE: Schema = {"type": "string", "maxLength": 200, "pattern": r"^[^\x00-\x1f\x7f]*$"}
_COUNT: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": LARGEST_COUNT},
        {"type": "string", "pattern": "^[0-9]+$"},
        {"type": "null"},
    ]
}
_AMOUNT = r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"
DOLLARS: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 10**9},
        {"type": "string", "pattern": _AMOUNT},
    ]
}
_LISTED_TEXT: Schema = {"type": "string", "description": "The same, separated by commas."}
_ACCEPTED: Mapping[str, Schema] = MappingProxyType(
    {
        "money": {"anyOf": [DOLLARS, {"type": "null"}]},
        "period": maybe(one_of(PERIODS)),
        "count": _COUNT,
        "names": {
            "anyOf": [
                {"type": "array", "maxItems": MOST_MODELS, "items": {**LINE, "minLength": 1}},
                _LISTED_TEXT,
                {"type": "null"},
            ]
        },
        "flag": maybe(FLAG),
        "switch": maybe(FLAG),
        "text": maybe(LINE),
        "tags": maybe(
            {
                "type": "object",
                "maxProperties": 32,
                "propertyNames": {"pattern": "^[A-Za-z0-9._-]{1,64}$"},
                "additionalProperties": LINE,
            }
        ),
        "time": maybe(TEXT),
        "url": maybe({"type": "string", "pattern": r"^(https?://[^\s/]+\S*)?$"}),
        "percents": {"anyOf": [{"type": "array", "maxItems": 10}, _LISTED_TEXT, {"type": "null"}]},
    }
)
"""By the type of a field, the schema of what is accepted for it."""

_ANSWERED: Mapping[str, Schema] = {
    "money": maybe(ref("Money")),
    "period": maybe(one_of(PERIODS)),
    "count": maybe(COUNT),
    "names": maybe(listed(TEXT)),
    "flag": maybe(FLAG),
    "switch": FLAG,
    "text": TEXT,
    "tags": TEXTS,
    "time": maybe(MOMENT),
    "url": told(TEXT, "Complete for administrators only; else its scheme and host."),
    "percents": maybe(listed(COUNT)),
}
"""By the type of a field, the schema of its value in an answer."""


def accepted_settings(level: Level) -> dict[str, Schema]:
    """What a request may give for each setting of this level."""
    return {name: _described(_ACCEPTED, field) for name, field in fields_of(level).items()}


def answered_settings(level: Level) -> dict[str, Schema]:
    """What an answer holds for each setting of this level."""
    return {name: _described(_ANSWERED, field) for name, field in fields_of(level).items()}


def combined_limits() -> dict[str, Schema]:
    """The limits of `/v1/key` that combine over the levels."""
    return {
        limit.name: FLAG if limit.combine is Combine.ALL else _described(_ANSWERED, limit)
        for limit in LIMITS
        if limit.combine is not Combine.EACH
    }


def separate_limits() -> dict[str, Schema]:
    """The limits of `/v1/key` that each level has for itself, beside those shown with their use."""
    return {
        limit.name: _described(_ANSWERED, limit)
        for limit in LIMITS
        if limit.combine is Combine.EACH and limit.name not in SHOWN_WITH_USE
    }


def _described(by_type: Mapping[str, Schema], field: AccountField) -> Schema:
    return {"description": field.help, **by_type[field.type.name]}
