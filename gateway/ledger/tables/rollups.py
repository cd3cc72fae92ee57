"""Roll-ups: the sums that reports read, updated in every transaction that adds rows.

`usage.record` counts requests, in rows with an outcome: calls, errors, savings. Writers of the
ledger add money, in rows with an empty outcome: paid calls and images, spending, estimates,
corrections.

Two coarser tables have the same sums again: `month_rollups` by month and without end users, and
`team_rollups` by day, outcome, cause, team and model alone. A report reads the smallest that has
its dimensions (`usage_sources`), so that its time does not grow with keys × days.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of sums: its columns before the sums, and those of them that are its primary key."""

    name: str
    columns: Sequence[str]
    key: Sequence[str]

    @property
    def head(self) -> str:
        return f"INSERT INTO {self.name} ({', '.join((*self.columns, *COLUMNS))})"

    @property
    def addition(self) -> str:
        added = (f"{name} = {self.name}.{name} + excluded.{name}" for name in COLUMNS)
        return f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {', '.join(added)}"


_DIGESTED = Dimensions._fields[:-1]
_BY_TEAM = ("day", "outcome", "cause", "team", "model")
_ROLLUPS = _Table(
    "rollups", ("day", "dimensions", *Dimensions._fields), ("day", "dimensions", "end_user")
)
_BY_MONTH = _Table("month_rollups", ("month", "dimensions", *_DIGESTED), ("month", "dimensions"))
_OF_TEAMS = _Table("team_rollups", _BY_TEAM, _BY_TEAM)


def tags_text(tags: Mapping[str, str]) -> str:
    """Tags as canonical JSON text: equal tags give equal text, in any order."""
    if not tags:
        return "{}"
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


async def add(tx: Transaction, parts: Iterable[tuple[str, Dimensions, Sums]]) -> None:
    """Add sums to the rows of their days, which are locked in the order of their keys."""
    parts = list(parts)
    digests = await add_to_users(tx, parts)
    months = [(day[:7], digests[of], *of[:-1]) for day, of, _ in parts]
    teams = [(day, of.outcome, of.cause, of.team, of.model) for day, of, _ in parts]
    sums = [each for _, _, each in parts]
    await _add(tx, _BY_MONTH, zip(months, sums, strict=True))
    await _add(tx, _OF_TEAMS, zip(teams, sums, strict=True))


async def add_to_users(
    tx: Transaction, parts: Sequence[tuple[str, Dimensions, Sums]]
) -> Mapping[Dimensions, str]:
    """Add sums that were taken from other end users, which the coarser sums do not tell apart.

    Returns the digests of the dimensions.
    """
    digests = {of: _digest(of) for _, of, _ in parts}
    await _add(tx, _ROLLUPS, (((day, digests[of], *of), sums) for day, of, sums in parts))
    return digests


async def _add(
    tx: Transaction, table: _Table, parts: Iterable[tuple[tuple[str, ...], Sums]]
) -> None:
    totals: defaultdict[tuple[str, ...], Sums] = defaultdict(Sums)
    for key, sums in parts:
        totals[key].add(sums)
    rows = [(*key, *_values(total)) for key, total in totals.items()]
    await insert_rows(tx, table.head, sorted(rows), table.addition)


def _digest(dimensions: Dimensions) -> str:
    return blake2b(json.dumps(dimensions[:-1]).encode(), digest_size=16).hexdigest()
