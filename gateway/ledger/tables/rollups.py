"""Roll-ups: the sums that reports read, kept by every transaction that adds rows.

Requests are counted by `usage.record`, on rows that have an outcome: calls, errors, saved.
Money is added by what writes the ledger, on rows whose outcome is empty: paid calls, spent,
estimated, corrections. No column is fed by both, so nothing is counted twice.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from operator import attrgetter
from typing import NamedTuple

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows


class Dimensions(NamedTuple):
    """What sums are kept by, besides the day. `tags` is canonical JSON text."""

    team: str
    key_id: str
    model: str
    owner: str
    cost_centre: str
    tags: str
    outcome: str = ""
    cause: str = ""


@dataclass(slots=True)
class Sums:
    """What is added to one row."""

    calls: int = 0
    errors: int = 0
    saved_nanos: int = 0
    paid_calls: int = 0
    spent_nanos: int = 0
    estimated_calls: int = 0
    estimated_nanos: int = 0
    corrections_nanos: int = 0

    def add(self, other: Sums) -> None:
        for name in COLUMNS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COLUMNS = tuple(column.name for column in fields(Sums))
_values = attrgetter(*COLUMNS)

_HEAD = f"INSERT INTO rollups (day, dimensions, {', '.join(Dimensions._fields + COLUMNS)})"
_ADD = "ON CONFLICT (day, dimensions) DO UPDATE SET " + ", ".join(
    f"{name} = rollups.{name} + excluded.{name}" for name in COLUMNS
)


def tags_text(tags: Mapping[str, str]) -> str:
    """Tags as canonical JSON text: the same tags are the same text, whatever their order."""
    if not tags:
        return "{}"
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


async def add(tx: Transaction, parts: Iterable[tuple[str, Dimensions, Sums]]) -> None:
    """Add sums to their day's rows: one row each, locked in the order of their keys."""
    totals: defaultdict[tuple[str, Dimensions], Sums] = defaultdict(Sums)
    for day, dimensions, sums in parts:
        totals[day, dimensions].add(sums)
    rows = [
        (day, _digest(dimensions), *dimensions, *_values(total))
        for (day, dimensions), total in totals.items()
    ]
    await insert_rows(tx, _HEAD, sorted(rows), _ADD)


def _digest(dimensions: Dimensions) -> str:
    return blake2b(json.dumps(dimensions).encode(), digest_size=16).hexdigest()
