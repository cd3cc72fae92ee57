"""The dimensions of a usage report, and the group that a row of sums belongs to.

The report's own groups are in brackets, such as "(untagged)"; a tag or a name of the same text is
quoted, so that the two are never mixed up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any, Self

UNTAGGED = "(untagged)"
UNKNOWN = "(unknown)"
NOT_SPLIT = "(not split)"
"""What is counted, but not by this dimension."""
TOTAL = "(total)"
TAG = "tag:"
QUARTER_MS = 900_000
"""Every time zone is a multiple of a quarter of an hour from UTC."""
QUARTER = "quarter"
"""The number of a quarter of an hour since 1970."""
BY_CALL_COLUMNS = ("upstream", "cost_kind", QUARTER)
"""What roll-ups do not keep: money is read from the ledger's rows instead."""
COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "team": ("team",),
        "key": ("key_id",),
        "user": ("end_user",),
        "model": ("model",),
        "upstream": ("upstream",),
        "day": ("day",),
        "week": ("day",),
        "month": ("month",),
        "hour": ("day", QUARTER),
        "cost_kind": ("cost_kind",),
        "owner": ("owner",),
        "cost_centre": ("cost_centre",),
    }
)
"""The dimensions besides tags, and the columns that each is read from."""
KNOWN = (*COLUMNS, f"{TAG}NAME")

_LIKE_OURS = re.compile(r'"*\((untagged|total|unknown|not split)\)"*')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The dimensions of a report, in order."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """`team,month` and the like. Raises ValueError, which names the known ones."""
        names = tuple(name.strip() for name in text.split(","))
        for name in names:
            if name not in COLUMNS and not (name.startswith(TAG) and name != TAG):
                raise ValueError(f"usage can't be grouped by {name!r}: {', '.join(KNOWN)}")
            if names.count(name) > 1:
                raise ValueError(f"{name!r} is given twice; give it once")
        return cls(names)

    @property
    def by_call(self) -> bool:
        return not set(BY_CALL_COLUMNS).isdisjoint(self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the groups are read from, each once."""
        found = (each for name in self.names for each in COLUMNS.get(name, ("tags",)))
        return tuple(dict.fromkeys(found))

    def group(self, row: Mapping[str, Any], zone: tzinfo) -> tuple[str, ...]:
        """The group of a row with these columns; a column that it lacks does not split it."""
        return tuple(_label(name, row, zone) for name in self.names)


def _label(name: str, row: Mapping[str, Any], zone: tzinfo) -> str:
    if name.startswith(TAG):
        return _quoted(json.loads(row["tags"]).get(name.removeprefix(TAG), "")) or UNTAGGED
    text = row.get(COLUMNS[name][-1])
    if text is None:
        return NOT_SPLIT
    if name == "hour":
        return _hour(row["day"], text, zone)
    if name == "week":
        year, week, _ = date.fromisoformat(text).isocalendar()
        return f"{year}-W{week:02d}"
    return _quoted(text) or (UNKNOWN if name in ("model", "upstream") else UNTAGGED)


def _quoted(text: str) -> str:
    return f'"{text}"' if _LIKE_OURS.fullmatch(text) else text


def _hour(day: str, quarter: int, zone: tzinfo) -> str:
    """An hour of the day of booking, so that the hours of a day add up to it.

    What was settled after midnight is of the day's last hour; what became known late, and is booked
    in the first open day, of that day's first.
    """
    at = (_EPOCH + timedelta(milliseconds=quarter * QUARTER_MS)).astimezone(zone)
    local = at.date().isoformat()
    hour = at.hour if local == day else 0 if local < day else 23
    return f"{day} {hour:02d}:00"
