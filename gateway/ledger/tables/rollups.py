"""Roll-ups: the sums that reports read, updated in every transaction that adds rows.

`usage.record` counts requests, in rows with an outcome: calls, errors, savings. Writers of the
ledger add money, in rows with an empty outcome: paid calls and images, spending, estimates,
corrections.

Two coarser tables have the same sums again: `month_rollups` by month and without end users, and
`team_rollups` by day, outcome, cause, team and model alone. A report reads the smallest that has
its dimensions (`usage_sources`), so that its time does not grow with keys × days.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from operator import add as add_up
from operator import attrgetter
from typing import NamedTuple

from gateway.database.database import Transaction, Value
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


class _Table(NamedTuple):
    """A table of sums: the head and the tail of the statement that adds to its rows."""

    head: str
    tail: str


def _table(name: str, columns: Sequence[str], key: Sequence[str]) -> _Table:
    """With these columns before the sums, and this primary key."""
    added = (f"{column} = {name}.{column} + excluded.{column}" for column in COLUMNS)
    return _Table(
        f"INSERT INTO {name} ({', '.join((*columns, *COLUMNS))})",
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(added)}",
    )


MONTH_COLUMNS = ("month", "dimensions", *Dimensions._fields[:-1])
TEAM_COLUMNS = ("day", "outcome", "cause", "team", "model")
_ROLLUPS = _table(
    "rollups", ("day", "dimensions", *Dimensions._fields), ("day", "dimensions", "end_user")
)
_BY_MONTH = _table("month_rollups", MONTH_COLUMNS, ("month", "dimensions"))
_OF_TEAMS = _table("team_rollups", TEAM_COLUMNS, TEAM_COLUMNS)


def tags_text(tags: Mapping[str, str]) -> str:
    """Tags as canonical JSON text: equal tags give equal text, in any order."""
    if not tags:
        return "{}"
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


async def add(tx: Transaction, parts: Iterable[tuple[str, Dimensions, Sums]]) -> None:
    """Add sums to the rows of their days, which are locked in the order of their keys."""
    parts = list(parts)
    await add_to_users(tx, parts)
    months = [(day[:7], _digest(of), *of[:-1]) for day, of, _ in parts]
    teams = [(day, of.outcome, of.cause, of.team, of.model) for day, of, _ in parts]
    sums = [each for _, _, each in parts]
    await _add(tx, _BY_MONTH, months, sums)
    await _add(tx, _OF_TEAMS, teams, sums)


async def add_to_users(tx: Transaction, parts: Sequence[tuple[str, Dimensions, Sums]]) -> None:
    """Add sums that were taken from other end users, whom the coarser sums do not tell apart."""
    days = [(day, _digest(of), *of) for day, of, _ in parts]
    await _add(tx, _ROLLUPS, days, [each for _, _, each in parts])


async def _add(
    tx: Transaction, table: _Table, keys: Sequence[tuple[str, ...]], sums: Sequence[Sums]
) -> None:
    totals: dict[tuple[str, ...], tuple[int, ...]] = {}
    for key, values in zip(keys, map(_values, sums), strict=True):
        totals[key] = tuple(map(add_up, totals[key], values)) if key in totals else values
    rows: list[tuple[Value, ...]] = [(*key, *totals[key]) for key in sorted(totals)]
    await insert_rows(tx, table.head, rows, table.tail)


@functools.lru_cache(1_000)
def _digest(dimensions: Dimensions) -> str:
    return blake2b(json.dumps(dimensions[:-1]).encode(), digest_size=16).hexdigest()
