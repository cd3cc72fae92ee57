"""The settings and limits of an account as fields of read models, from their own tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.accounts.rules.account_settings import fields_of
from gateway.accounts.rules.field_types import WEEKDAYS, AccountField
from gateway.model.caller import Keeping, Level, Period
from gateway.queries.models.read_model import Count, Moment, Money, Texts

_TYPES: dict[str, Any] = {
    "money": Money | None,
    "period": Period | None,
    "weekday": Literal[WEEKDAYS] | None,
    "month_day": Count | None,
    "count": Count | None,
    "names": list[str] | None,
    "flag": bool | None,
    "switch": bool,
    "keeping": Keeping | Literal[""],
    "text": str,
    "tags": Texts,
    "time": Moment | None,
    "url": str,
    "percents": list[Count] | None,
}
"""By the name of a field's type."""


def model_fields(fields: Iterable[AccountField]) -> dict[str, Any]:
    """The fields for `create_model`."""
    return {
        field.name: (Annotated[_TYPES[field.type.name], Field(description=field.help)], ...)
        for field in fields
    }


def settings_fields(level: Level) -> dict[str, Any]:
    """The fields for `create_model` of every setting of the level."""
    return model_fields(fields_of(level).values())
