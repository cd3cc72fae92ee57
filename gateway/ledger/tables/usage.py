"""Usage: one row per request, with any outcome, written in batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Literal

from gateway.accounts.rules.end_users import OTHERS
from gateway.database.database import Row, Transaction, Value
from gateway.database.multirow import insert_rows
from gateway.ledger.tables import rollups
from gateway.ledger.tables.closed_days import lock_closings, open_day
from gateway.ledger.tables.end_users import enrol
from gateway.ledger.tables.rollups import tags_text
from gateway.model.caller import NO_TAGS
from gateway.model.outcome import Outcome

Cause = Literal["", "reuse", "coalesced", "automatic_retry", "remembered_refusal"]

_NO_STAGES: Mapping[str, int] = MappingProxyType({})
_NEW = "ON CONFLICT (id) DO NOTHING RETURNING id"
_FOLD = (
    "DELETE FROM usage_rows WHERE id IN "
    "(SELECT id FROM usage_rows WHERE day < $1 ORDER BY day LIMIT $2) RETURNING id"
)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One request. `id` is new for every row; `day` is in the state's time zone.

    `saved_nanos` is the cost that was avoided, for the reason `cause`. `code` is the code of a
    refusal or failure, or "". `paid_by_team` is the team that paid for the result, if another.
    `owner`, `cost_centre` and `tags` are those at the time, `end_user` is as in `Caller`.
    `fingerprint` is "" if the request was refused before it was computed. `aside` is the
    fingerprint's `extra_digest`, `uncacheable` as there; `asked` is the request's `Cache-Control`.
    `took_us` and `stages` are microseconds.
    """

    id: str
    at_ms: int
    day: str
    request_id: str
    team: str
    key_id: str
    model: str
    outcome: Outcome
    status: int
    route: str = "edits"
    cause: Cause = ""
    saved_nanos: int = 0
    code: str = ""
    paid_by_team: str = ""
    owner: str = ""
    cost_centre: str = ""
    end_user: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    fingerprint: str = ""
    aside: str = ""
    uncacheable: str = ""
    asked: str = ""
    took_us: int = 0
    stages: Mapping[str, int] = field(default_factory=lambda: _NO_STAGES)

    @property
    def dimensions(self) -> rollups.Dimensions:
        """The key of the roll-up that counts the request."""
        return rollups.Dimensions(
            self.team,
            self.key_id,
            self.model,
            self.owner,
            self.cost_centre,
            tags_text(self.tags),
            self.outcome.value,
            self.cause,
            self.end_user,
        )


_COLUMNS = tuple(column.name for column in fields(UsageRow))
_HEAD = f"INSERT INTO usage_rows ({', '.join(_COLUMNS)})"
_OF_REQUEST = (
    f"SELECT {', '.join(_COLUMNS)} FROM usage_rows WHERE request_id = $1 AND key_id = $2 "
    "ORDER BY at_ms, id LIMIT 1"
)


async def record(
    tx: Transaction, rows: Sequence[UsageRow], today: str = "", *, most_end_users: int = 10_000
) -> int:
    """Write a batch and count it in the roll-ups. Returns the number of new rows.

    Existing rows do not change, so that a batch may be written again if its commit is in doubt.
    Requests of a month that is closed by now are counted in the first open day. With `today`, a
    batch of the current month needs no lock. End users above the number of a team are OTHERS.
    """
    rows = await _told_apart(tx, rows, most_end_users)
    rows = await _in_open_days(tx, rows, today)
    values = [_values(row) for row in sorted(rows, key=lambda row: row.id)]
    written = {row["id"] for row in await insert_rows(tx, _HEAD, values, _NEW)}
    await rollups.add(
        tx, [(row.day, row.dimensions, _sums(row)) for row in rows if row.id in written]
    )
    return len(written)


async def find(tx: Transaction, request_id: str, key_id: str) -> UsageRow | None:
    """The row of a request of this key; None if there is none, or another key made it."""
    rows = await tx.fetch(_OF_REQUEST, request_id, key_id)
    return _row(rows[0]) if rows else None


async def _in_open_days(
    tx: Transaction, rows: Sequence[UsageRow], today: str
) -> Sequence[UsageRow]:
    if all(row.day[:7] >= today[:7] for row in rows) and today:
        return rows  # the current month cannot be closed
    through = await lock_closings(tx)
    return [replace(row, day=open_day(row.day, through)) for row in rows]


async def _told_apart(tx: Transaction, rows: Sequence[UsageRow], most: int) -> Sequence[UsageRow]:
    known: set[tuple[str, str]] = set()
    for team in sorted({row.team for row in rows if row.end_user}):
        of_team = [row for row in rows if row.team == team and row.end_user]
        names = [row.end_user for row in of_team]
        first_ms = min(row.at_ms for row in of_team)
        known |= {(team, name) for name in await enrol(tx, team, names, most, first_ms)}
    return [
        row if not row.end_user or (row.team, row.end_user) in known
        else replace(row, end_user=OTHERS)
        for row in rows
    ]  # fmt: skip


async def fold(tx: Transaction, before_day: str, limit: int = 5_000) -> int:
    """Delete usage rows of days before this one, at most `limit`. Returns their number.

    Their sums stay in the roll-ups, their money in the ledger.
    """
    return len(await tx.fetch(_FOLD, before_day, limit))


def _values(row: UsageRow) -> tuple[Value, ...]:
    values = {name: getattr(row, name) for name in _COLUMNS}
    texts = {
        "outcome": row.outcome.value,
        "tags": tags_text(row.tags),
        "stages": json.dumps(dict(row.stages)),
    }
    return tuple((values | texts).values())


def _row(row: Row) -> UsageRow:
    read = {name: json.loads(row[name]) for name in ("tags", "stages")}
    return UsageRow(**{**row, **read, "outcome": Outcome(row["outcome"])})


def _sums(row: UsageRow) -> rollups.Sums:
    return rollups.Sums(calls=1, errors=int(row.status >= 400), saved_nanos=row.saved_nanos)
