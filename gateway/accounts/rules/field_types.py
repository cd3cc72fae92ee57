"""The types of an account's fields: how a value is parsed, shown as JSON and stored in a column.

Each parser takes the field's name, for its error message, and a value from JSON, TOML or a
command line. None means that the field is not set. Parsers raise BadValue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from gateway.accounts.rules.errors import BadValue
from gateway.model.caller import KEEPINGS, LEVELS, NO_TAGS, PERIODS, Level
from gateway.model.money import nanos_of, usd
from gateway.model.units import time_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_COUNT = 10**12
_TAG = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_MODELS = 200
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTH_DAYS = tuple(map(str, range(1, 29)))
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1, which a terminal obeys
    r"\u2028\u2029"  # breaks of lines and paragraphs
    r"\u202a-\u202e\u2066-\u2069"  # what turns the direction: text that reads as another
    r"\ud800-\udfff]"  # halves of letters
)


def is_text(value: object) -> bool:
    """Is it one line that every engine can store and that prints as what it is?

    No control characters, none that turn the direction of writing, no half letters.
    """
    return isinstance(value, str) and len(value) <= 200 and not CONTROL.search(value)


def _parse_money(name: str, value: object) -> int:
    nanos = nanos_of(value)
    if nanos is None:
        raise BadValue(f"{name} takes an amount in dollars, such as 0.37 or 250.", name)
    return nanos


def _parse_period(name: str, value: object) -> object:
    if value not in PERIODS:
        raise BadValue(f"{name} is one of {', '.join(PERIODS)}.", name)
    return value


def _parse_weekday(name: str, value: object) -> int:
    if not isinstance(value, str) or value.lower() not in WEEKDAYS:
        raise BadValue(f"{name} is one of {', '.join(WEEKDAYS)}.", name)
    return WEEKDAYS.index(value.lower())


def _parse_month_day(name: str, value: object) -> int:
    if (text := str(value)) not in MONTH_DAYS or isinstance(value, bool):
        raise BadValue(f"{name} is a day from 1 to 28, which every month has.", name)
    return int(text)


def _parse_count(name: str, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_COUNT:
        raise BadValue(f"{name} takes a whole number of at least 0.", name)
    return value


def _parse_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadValue(f"{name} is true or false.", name)
    return value


def parse_text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not is_text(value):
        raise BadValue(
            f"{name} takes one line of at most 200 characters, no control characters.", name
        )
    return value


def check_label(name: str, owner: str) -> None:
    """Check the name of a key or a token. Raises BadValue."""
    if not name.strip() or name != name.strip() or not is_text(name) or len(name) > 100:
        raise BadValue(f"A {owner}'s name is one line of 1 to 100 characters.", "name")


def _parse_names(name: str, value: object) -> frozenset[str]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple, frozenset)):
        raise BadValue(f"{name} takes a list of model names.", name)
    if len(names) > MOST_MODELS:
        raise BadValue(f"{name} takes at most {MOST_MODELS} model names.", name)
    models = frozenset(parse_text(name, each).strip() for each in names)
    if "" in models:
        raise BadValue(f"{name} takes a list of model names, and one of these is empty.", name)
    return models


def _parse_tags(name: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or len(value) > 32:
        raise BadValue(f"{name} takes at most 32 names with their texts.", name)
    for tag, text in value.items():
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise BadValue(f"{name}: a tag's name is 1 to 64 of A-Z a-z 0-9 . _ -", name)
        if not isinstance(text, str):
            raise BadValue(f"{name}: the tag {tag} takes a text.", name)
        parse_text(name, text)
    return MappingProxyType(dict(value))


def parse_time(name: str, value: object) -> int:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or not 1970 <= moment.year <= 9000:
        raise BadValue(f"{name} takes a time such as 2027-01-31T18:00:00Z.", name)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _parse_url(name: str, value: object) -> str:
    url = parse_text(name, value)
    if url and not (re.fullmatch(r"https?://[^\s/]+\S*", url) and _has_host(url)):
        raise BadValue(
            f"{name} takes a URL with a host that begins with https:// or http://.", name
        )
    return url


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # such as a bracket without its other half
        return False


def _parse_percents(name: str, value: object) -> tuple[int, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) > 10:
        raise BadValue(f"{name} takes up to 10 percentages, such as 50, 80, 100.", name)
    given = [part.strip() if isinstance(part, str) else part for part in parts if part is not None]
    percents = tuple(sorted({_parse_count(name, part) for part in given}))
    if any(not 1 <= percent <= 100 for percent in percents):
        raise BadValue(f"{name} takes percentages from 1 to 100.", name)
    return percents


def _parse_keeping(name: str, value: object) -> str:
    if value not in ("", *KEEPINGS):
        raise BadValue(f"{name} is one of {', '.join(KEEPINGS)}.", name)
    return str(value)


def _same(value: Any) -> Any:
    return value


def _stored_tags(text: str) -> Mapping[str, str]:
    return NO_TAGS if text == "{}" else MappingProxyType(json.loads(text))


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type of field: its conversions of values that are set, and the value when it is not."""

    name: str
    parse_set: Callable[[str, object], Any]
    unset: object = None
    as_json: Callable[[Any], object] = _same
    as_column: Callable[[Any], Any] = _same
    from_column: Callable[[Any], Any] = _same

    def parse(self, name: str, value: object) -> Any:
        """The value of a field of that name; None unsets it. Raises BadValue."""
        return self.unset if value is None else self.parse_set(name, value)


MONEY = FieldType("money", _parse_money, as_json=usd)
PERIOD = FieldType("period", _parse_period)
WEEKDAY = FieldType("weekday", _parse_weekday, as_json=WEEKDAYS.__getitem__)
MONTH_DAY = FieldType("month_day", _parse_month_day)
COUNT = FieldType("count", _parse_count)
NAMES = FieldType(
    "names",
    _parse_names,
    as_json=sorted,
    as_column=lambda names: json.dumps(sorted(names)),
    from_column=lambda text: frozenset(json.loads(text)),
)
FLAG = FieldType("flag", _parse_flag, as_column=int, from_column=bool)
SWITCH = FieldType("switch", _parse_flag, unset=False, as_column=int, from_column=bool)
TEXT = FieldType("text", parse_text, unset="")
TAGS = FieldType(
    "tags",
    _parse_tags,
    unset=NO_TAGS,
    as_json=dict,
    as_column=lambda tags: json.dumps(dict(tags), sort_keys=True),
    from_column=_stored_tags,
)
TIME = FieldType("time", parse_time, as_json=time_text)
URL = FieldType("url", _parse_url, unset="")
KEEPING = FieldType("keeping", _parse_keeping, unset="")
PERCENTS = FieldType(
    "percents",
    _parse_percents,
    as_json=list,
    as_column=json.dumps,
    from_column=lambda text: tuple(json.loads(text)),
)


@dataclass(frozen=True, slots=True)
class AccountField:
    """One field of an account: a row of `LIMITS` or of `FIELDS`.

    `name` is its name for users: in flags, JSON and TOML. `column` is its name in the table
    `accounts` and as an attribute.
    """

    name: str
    column: str
    type: FieldType
    help: str
    levels: tuple[Level, ...] = LEVELS
