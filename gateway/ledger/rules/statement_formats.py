"""How statements write amounts and times. Which way one does is said, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Literal

Granularity = Literal["call", "day", "month"]
Numbers = Literal["plain", "us", "german"]
Dates = Literal["iso", "us", "german"]
Encoding = Literal["utf-8", "utf-16", "windows-1252"]

NUMBER_EXAMPLES: Mapping[Numbers, str] = MappingProxyType(
    {"plain": "0.04 or -0.04", "us": "$1,234.50 or (3.20)", "german": "1.234,50 or 3,20-"}
)
DATE_EXAMPLES: Mapping[Dates, str] = MappingProxyType(
    {
        "iso": "2026-11-25T12:00:00Z",
        "us": "11/25/2026 or 11/25/2026 1:30 PM",
        "german": "25.11.2026 or 25.11.2026 13:30",
    }
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"\d{10}(\.\d+)?|\d{13}", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
_CLOCK = (
    r"(?:,? +(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?: ?(?P<half>[AP]M))?)?"
)
_DATE = {
    "us": re.compile(r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})" + _CLOCK, re.ASCII),
    "german": re.compile(
        r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})" + _CLOCK, re.ASCII
    ),
}
_LONGEST_AMOUNT = 100
_SPACES = re.compile(" +")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}
_SYMBOL = "([$€£]|[A-Z]{3})?"
_PLAIN = re.compile(r"([-+]?)((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)", re.ASCII)


def _shape(group: str, point: str) -> re.Pattern[str]:
    """An amount with these separators of thousands and decimals.

    It tries many ways to share out spaces and digits: of a long text, for hours.
    """
    group, point = re.escape(group), re.escape(point)
    plain = rf"(?:\d+(?:{point}\d+)?|{point}\d+)(?:[eE][+-]?\d{{1,3}})?"
    number = rf"(\d{{1,3}}(?:{group}\d{{3}})+(?:{point}\d+)?|{plain})"
    return re.compile(
        rf"(\()? *(-?) *{_SYMBOL} *(-?) *{number} *(-?) *{_SYMBOL} *(-?) *(\))?", re.ASCII
    )


_SHAPES = {"us": _shape(",", "."), "german": _shape(".", ",")}


def amount_of(text: str, numbers: Numbers) -> tuple[Decimal, str]:
    """A signed amount, and the currency that is written with it or "". Raises ValueError."""
    if len(text) > _LONGEST_AMOUNT:
        raise ValueError
    if numbers == "plain":
        if not (found := _PLAIN.fullmatch(text)):
            raise ValueError
        return _decimal(found[2], negative=found[1] == "-"), ""
    spaced = _SPACES.sub(" ", text.replace("\u2212", "-").replace("\xa0", " "))
    shaped = _SHAPES[numbers].fullmatch(spaced)
    if shaped is None:
        raise ValueError
    opened, *_, closed = shaped.groups()
    signs = [sign for sign in (shaped[2], shaped[4], shaped[6], shaped[8]) if sign]
    symbols = [symbol for symbol in (shaped[3], shaped[7]) if symbol]
    if (opened is None) != (closed is None) or len(signs) + bool(opened) > 1 or len(symbols) > 1:
        raise ValueError
    group = "," if numbers == "us" else "."
    number = shaped[5].replace(group, "").replace(",", ".")
    currency = _SYMBOLS.get(symbols[0], symbols[0]) if symbols else ""
    return _decimal(number, negative=bool(signs or opened)), currency


def _decimal(text: str, *, negative: bool) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError from None
    return -amount if negative else amount


def moment_of(text: str, dates: Dates, zone: tzinfo) -> int:
    """Unix milliseconds of a time; one without an offset is in `zone`. Raises ValueError.

    "iso" are ISO 8601 and RFC 3339, unix seconds and milliseconds, and months such as 2026-11.
    """
    if dates == "iso":
        if _UNIX.fullmatch(text):
            return int(Decimal(text) * (1 if len(text) == 13 and "." not in text else 1000))
        moment = datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text.upper())
    else:
        moment = _local(text, dates)
    if not 1970 <= moment.year <= 9000:
        raise ValueError  # too near the ends of the calendar for arithmetic
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _local(text: str, dates: Dates) -> datetime:
    found = _DATE[dates].fullmatch(text.upper())
    if found is None:
        raise ValueError
    year, month, day, minute, second = (
        int(found[name] or 0) for name in ("year", "month", "day", "minute", "second")
    )
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if found["half"] == "PM" else 0)
    return datetime(year, month, day, hour, minute, second)
