"""The types of fields in bodies and queries of `/admin/v1`: each parses a value and describes it.

A parser raises ValueError with what follows the field's name in the message to the client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from gateway.accounts.rules.errors import BadValue
from gateway.accounts.rules.field_types import is_text, parse_time
from gateway.model.caller import LEVELS, Level
from gateway.model.money import nanos_of
from gateway.model.outcome import Outcome
from gateway.model.units import seconds_of
from gateway.queries.csv_table import DECIMALS, SEPARATORS
from gateway.queries.models.read_model import DAY_SCHEMA

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAY_SECONDS = 86400.0
OUTCOMES = [each.value for each in Outcome]
MOST_ITEMS = 1000
"""The most items of one page."""


def _line(value: object) -> str:
    if not isinstance(value, str) or not is_text(value):
        raise ValueError("takes one line of text.")
    return value


def _filled(value: object) -> str:
    line = _line(value)
    if not line:
        raise ValueError("is empty; leave it out.")
    return line


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false.")
    return value


def _flag_text(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("is true or false.")
    return value.lower() == "true"


def _dollars(value: object) -> int:
    nanos = nanos_of(value)
    if nanos is None:
        raise ValueError("takes an amount in dollars, such as 0.0123.")
    return nanos


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(
            "takes the BLAKE3 hash of the picture's bytes, 64 hexadecimal digits (what b3sum "
            "prints). `gateway cache purge --containing FILE` takes the file itself."
        )
    return value


def _level(value: object) -> object:
    if value not in LEVELS:
        raise ValueError(f"is one of {', '.join(LEVELS)}.")
    return value


def _day(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("takes a day such as 2026-11-01.")
    try:
        written = date.fromisoformat(value).isoformat()
    except ValueError:
        written = None
    if written != value:
        raise ValueError("takes a day such as 2026-11-01.")
    return value


def _month(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_MONTH_PATTERN, value):
        raise ValueError("takes a month such as 2026-11.")
    return value


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 7 else -1
        if not least <= number <= most:
            raise ValueError(f"is a number from {least} to {most}.")
        return number

    return parse


def _from_to(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


def _one_of(names: Collection[str]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in names:
            raise ValueError(f"is one of {', '.join(names)}.")
        return value

    return parse


def _moment(value: str) -> int:
    try:
        return parse_time("", value) or 0
    except BadValue as error:
        raise ValueError(error.message.strip()) from None


def _seconds_up_to(days: int) -> Callable[[object], float]:
    def parse(value: object) -> float:
        try:
            seconds = float(str(seconds_of(value)))
        except ValueError:
            seconds = -1.0
        if isinstance(value, bool) or not 0 <= seconds <= days * _DAY_SECONDS:
            raise ValueError(f'takes seconds, or text such as "24h", up to {days} days.')
        return seconds

    return parse


LINE_SCHEMA: dict[str, Any] = {
    "type": "string",
    "maxLength": 200,
    "pattern": r"^[^\x00-\x1f\x7f]*$",
}
DOLLARS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 10**9},
        {
            "type": "string",
            "pattern": r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$",
        },
    ]
}
_SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?\s*$"},
    ],
    "description": "Seconds, or text such as 24h.",
}
_NAME_PATTERN = "[A-Za-z0-9._-]{1,64}"
_MONTH_PATTERN = "20[0-9]{2}-(0[1-9]|1[0-2])"

Line = Annotated[str, BeforeValidator(_line), WithJsonSchema(LINE_SCHEMA)]
Filled = Annotated[str, BeforeValidator(_filled), WithJsonSchema({**LINE_SCHEMA, "minLength": 1})]
Name = Annotated[
    str, BeforeValidator(_line), WithJsonSchema({**LINE_SCHEMA, "minLength": 1, "maxLength": 100})
]
TeamName = Annotated[
    str, BeforeValidator(_line), WithJsonSchema({"type": "string", "pattern": f"^{_NAME_PATTERN}$"})
]
RoleName = Annotated[
    str,
    BeforeValidator(_line),
    WithJsonSchema({"type": "string", "pattern": f"^(admin|finance|team:{_NAME_PATTERN})$"}),
]
Digest = Annotated[
    str,
    BeforeValidator(_digest),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]
Flag = Annotated[bool, BeforeValidator(_flag)]
FlagText = Annotated[bool, BeforeValidator(_flag_text), WithJsonSchema({"type": "boolean"})]
Dollars = Annotated[int, BeforeValidator(_dollars), WithJsonSchema(DOLLARS_SCHEMA)]
Limit = Annotated[int, BeforeValidator(_number(1, MOST_ITEMS)), _from_to(1, MOST_ITEMS)]
TitleLines = Annotated[int, BeforeValidator(_number(0, 1000)), _from_to(0, 1000)]
Percent = Annotated[int, BeforeValidator(_number(0, 100_000)), _from_to(0, 100_000)]
LevelName = Annotated[
    Level,
    BeforeValidator(_level),
    WithJsonSchema({"type": "string", "enum": list(LEVELS)}),
]
MonthText = Annotated[
    str,
    BeforeValidator(_month),
    WithJsonSchema({"type": "string", "pattern": f"^{_MONTH_PATTERN}$"}),
]
OutcomeName = Annotated[
    str,
    BeforeValidator(_one_of(OUTCOMES)),
    WithJsonSchema({"type": "string", "enum": OUTCOMES}),
]
DayText = Annotated[str, BeforeValidator(_day), WithJsonSchema(dict(DAY_SCHEMA))]
Separator = Annotated[
    str,
    BeforeValidator(_one_of(SEPARATORS)),
    WithJsonSchema({"type": "string", "enum": list(SEPARATORS)}),
]
Decimals = Annotated[
    str,
    BeforeValidator(_one_of(DECIMALS)),
    WithJsonSchema({"type": "string", "enum": list(DECIMALS)}),
]
MomentText = Annotated[int, BeforeValidator(_moment), WithJsonSchema(LINE_SCHEMA)]
Grace = Annotated[float, BeforeValidator(_seconds_up_to(365)), WithJsonSchema(_SECONDS_SCHEMA)]
Age = Annotated[float, BeforeValidator(_seconds_up_to(50 * 365)), WithJsonSchema(_SECONDS_SCHEMA)]
