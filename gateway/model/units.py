"""Sizes, durations and times as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

LONGEST_SECONDS = 36_500 * 86_400
"""A hundred years; much longer ones are no dates any more."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kKMGT]i?B?)?")
_SIZE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SPAN_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def bytes_of(value: object) -> object:
    """`"20GB"` or `"512 MiB"` as a number of bytes; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if not found:
        raise ValueError('give a size such as 1048576, "300MB" or "2GiB"')
    unit = (found[2] or "").rstrip("bB")
    power = unit[:1].lower()
    scale = 1024 ** (1 + "kmgt".index(power)) if unit.endswith("i") else _SIZE_UNITS[power]
    return int(Decimal(found[1]) * scale)


def seconds_of(value: object) -> object:
    """`"30d"`, `"90s"` or `"250ms"` in seconds; what is no text stays as it is."""
    if isinstance(value, str):
        found = _SPAN.fullmatch(value.strip())
        if not found:
            raise ValueError('give a time such as 30, "90s", "12h" or "30d"')
        value = float(found[1]) * _SPAN_UNITS[found[2] or ""]
    seconds = float(value) if isinstance(value, Decimal) else value
    if isinstance(seconds, int | float) and seconds > LONGEST_SECONDS:
        raise ValueError('give at most "36500d"')
    return seconds


def time_text(at_ms: int) -> str:
    """A moment, in unix milliseconds, as ISO 8601 text in UTC."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds")[:-6] + "Z"
