"""Roll-ups: the sums that reports read, updated in every transaction that adds rows.

`usage.record` counts requests, in rows with an outcome: calls, errors, savings. Writers of the
ledger add money, in rows with an empty outcome: paid calls and images, spending, estimates,
corrections.
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
    """The key of a roll-up, besides the day. `tags` is canonical JSON text.

    `end_user` comes last: the digest of the others is the same for all users.
    """

    team: str
    key_id: str
    model: str
    owner: str
    cost_centre: str
    tags: str
    outcome: str = ""
    cause: str = ""
    end_user: str = ""


@dataclass(slots=True)
class Sums:
    """The sums of a roll-up, or amounts to add to it."""

    calls: int = 0
    errors: int = 0
    saved_nanos: int = 0
    paid_calls: int = 0
    spent_nanos: int = 0
    estimated_calls: int = 0
    estimated_nanos: int = 0
    corrections_nanos: int = 0
    images: int = 0

    def add(self, other: Sums) -> None:
        for name in COLUMNS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COLUMNS = tuple(column.name for column in fields(Sums))
_values = attrgetter(*COLUMNS)

_HEAD = f"INSERT INTO rollups (day, dimensions, {', '.join(Dimensions._fields + COLUMNS)})"
_ADD = "ON CONFLICT (day, dimensions, end_user) DO UPDATE SET " + ", ".join(
    f"{name} = rollups.{name} + excluded.{name}" for name in COLUMNS
)


def tags_text(tags: Mapping[str, str]) -> str:
    """Tags as canonical JSON text: equal tags give equal text, in any order."""
    if not tags:
        return "{}"
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


async def add(tx: Transaction, parts: Iterable[tuple[str, Dimensions, Sums]]) -> None:
    """Add sums to the rows of their days, which are locked in the order of their keys."""
    totals: defaultdict[tuple[str, Dimensions], Sums] = defaultdict(Sums)
    for day, dimensions, sums in parts:
        totals[day, dimensions].add(sums)
    rows = [
        (day, _digest(dimensions), *dimensions, *_values(total))
        for (day, dimensions), total in totals.items()
    ]
    await insert_rows(tx, _HEAD, sorted(rows), _ADD)


def _digest(dimensions: Dimensions) -> str:
    return blake2b(json.dumps(dimensions[:-1]).encode(), digest_size=16).hexdigest()
