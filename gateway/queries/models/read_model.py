"""The base class of every JSON answer, and the types of its fields.

A read model is declared once: it reads a record of the state by attribute, becomes JSON, and
describes itself for `/openapi.json`. Money is decimal text in dollars, times are ISO 8601 in
UTC, shares are numbers from 0 to 1. No credential is in any of them, only hints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypeAliasType

from gateway.model.money import usd
from gateway.model.units import time_text

Json = dict[str, Any]


class ReadModel(BaseModel):
    """One JSON object. Its component in `/openapi.json` has the class's name without `View`."""

    model_config = ConfigDict(
        frozen=True,
        from_attributes=True,
        extra="forbid",
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,
        json_schema_serialization_defaults_required=True,
    )

    @classmethod
    def of(cls, record: Any) -> Self:
        """The view of a record, or of a mapping."""
        return cls.model_validate(record)

    def document(self) -> Json:
        """The answer over HTTP."""
        return self.model_dump()

    def row(self) -> Json:
        """The row that the command line prints: the answer without its `object`."""
        return self.model_dump(exclude={"object"})


def read(*path: str, name: str | None = None, default: Any = ...) -> Any:
    """A field that is read from another attribute, or is named `name` in JSON.

    `default` is its value where the path ends early, at a None.
    """
    alias = AliasPath(*path) if path else None
    return Field(default, validation_alias=alias, serialization_alias=name)


def optional() -> Any:
    """A field that is left out of the answer where it is None."""
    return Field(None, exclude_if=lambda value: value is None)


def time_or_none(at_ms: int | None) -> str | None:
    """A moment as ISO 8601 text; None where there is none."""
    return None if at_ms is None else time_text(at_ms)


def _money(value: object) -> object:
    return usd(value) if isinstance(value, int) else value


def _moment(value: object) -> object:
    return time_text(value) if isinstance(value, int) else value


def _parsed(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _rounded(value: float) -> float:
    return round(value, 4)


DAY_SCHEMA: Mapping[str, Any] = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}

Money = TypeAliasType(
    "Money",
    Annotated[
        str,
        BeforeValidator(_money),
        WithJsonSchema(
            {
                "type": "string",
                "pattern": r"^-?[0-9]+(\.[0-9]{2,9})?$",
                "description": "US dollars as exact decimal text.",
            }
        ),
    ],
)
"""From nano-dollars."""
Moment = Annotated[
    str, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""From unix milliseconds."""
Day = Annotated[str, WithJsonSchema(dict(DAY_SCHEMA))]
Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
Share = Annotated[
    float, BeforeValidator(_rounded), WithJsonSchema({"type": "number", "minimum": 0})
]
Texts = Annotated[dict[str, str], BeforeValidator(_parsed)]
"""From a mapping, or from its JSON text."""
MoneyByName = dict[str, Money]
CountByName = dict[str, Count]
