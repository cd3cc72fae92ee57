"""Usage: one row per request, whatever came of it, written in batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from gateway.database.database import Row, Transaction, Value
from gateway.database.multirow import insert_rows
from gateway.ledger.tables import rollups
from gateway.ledger.tables.closed_days import lock_closings, open_day
from gateway.ledger.tables.rollups import tags_text
from gateway.model.caller import NO_TAGS
from gateway.model.outcome import Outcome

Cause = Literal["", "reuse", "coalesced", "automatic_retry", "remembered_refusal"]

_COLUMNS = (
    "id", "at_ms", "day", "request_id", "team", "key_id", "model", "route", "outcome", "cause",
    "saved_nanos", "status", "code", "paid_by_team", "owner", "cost_centre", "tags", "fingerprint",
    "aside", "uncacheable", "asked", "took_us", "stages",
)  # fmt: skip
_OF_REQUEST = (
    f"SELECT {', '.join(_COLUMNS)} FROM usage_rows WHERE request_id = $1 AND key_id = $2 "
    "ORDER BY at_ms, id LIMIT 1"
)
_NO_STAGES: Mapping[str, int] = MappingProxyType({})
_HEAD = f"INSERT INTO usage_rows ({', '.join(_COLUMNS)})"
_NEW = "ON CONFLICT (id) DO NOTHING RETURNING id"
_FOLD = (
    "DELETE FROM usage_rows WHERE id IN "
    "(SELECT id FROM usage_rows WHERE day < $1 ORDER BY day LIMIT $2) RETURNING id"
)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One request. `id` is its own, new for every row; `day` is its day in the state's zone.

    `saved_nanos` is what it would have cost, and `cause` why it did not. `code` is the
    refusal's or failure's, "" where there was none. `paid_by_team` is the team that paid for
    the picture, where it was another one. `owner`, `cost_centre` and `tags` as they were.
    `fingerprint` is the edit's, "" where the request was refused before it was known; `aside`
    and `uncacheable` are as in `Fingerprint`, and `asked` is what was asked of the cache, as a
    `Cache-Control`. `took_us` and `stages` are microseconds.
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
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    fingerprint: str = ""
    aside: str = ""
    uncacheable: str = ""
    asked: str = ""
    took_us: int = 0
    stages: Mapping[str, int] = field(default_factory=lambda: _NO_STAGES)

    @property
    def dimensions(self) -> rollups.Dimensions:
        """Where the request is counted."""
        return rollups.Dimensions(
            self.team,
            self.key_id,
            self.model,
            self.owner,
            self.cost_centre,
            tags_text(self.tags),
            self.outcome.value,
            self.cause,
        )


async def record(tx: Transaction, rows: Sequence[UsageRow], today: str = "") -> int:
    """Write a batch and count it in the roll-ups; how many rows were new.

    Rows that are there already are left alone, so that a batch whose commit is in doubt may
    be written again. Requests of a month that was closed before they could be written are
    counted in the first open day. `today` spares a lock where no row can be of such a month.
    """
    rows = await _in_open_days(tx, rows, today)
    values = [_values(row) for row in sorted(rows, key=lambda row: row.id)]
    written = {row["id"] for row in await insert_rows(tx, _HEAD, values, _NEW)}
    await rollups.add(
        tx, [(row.day, row.dimensions, _sums(row)) for row in rows if row.id in written]
    )
    return len(written)


async def find(tx: Transaction, request_id: str, key_id: str) -> UsageRow | None:
    """The row of a request that this key has made; None also where another key made it."""
    rows = await tx.fetch(_OF_REQUEST, request_id, key_id)
    return _row(rows[0]) if rows else None


async def _in_open_days(
    tx: Transaction, rows: Sequence[UsageRow], today: str
) -> Sequence[UsageRow]:
    if all(row.day[:7] >= today[:7] for row in rows) and today:
        return rows  # nobody can close the month that it is
    through = await lock_closings(tx)
    return [replace(row, day=open_day(row.day, through)) for row in rows]


async def fold(tx: Transaction, before_day: str, limit: int = 5_000) -> int:
    """Drop usage rows of days before this one, at most `limit`; how many went.

    Their sums are in the roll-ups already, and money is in the ledger, which keeps its rows.
    """
    return len(await tx.fetch(_FOLD, before_day, limit))


def _values(row: UsageRow) -> tuple[Value, ...]:
    return (
        row.id, row.at_ms, row.day, row.request_id, row.team, row.key_id, row.model, row.route,
        row.outcome.value, row.cause, row.saved_nanos, row.status, row.code, row.paid_by_team,
        row.owner, row.cost_centre, tags_text(row.tags), row.fingerprint,
        row.aside, row.uncacheable, row.asked, row.took_us, json.dumps(dict(row.stages)),
    )  # fmt: skip


def _row(row: Row) -> UsageRow:
    read = {name: row[name] for name in _COLUMNS}
    read["outcome"] = Outcome(read["outcome"])
    read["tags"], read["stages"] = json.loads(read["tags"]), json.loads(read["stages"])
    return UsageRow(**read)


def _sums(row: UsageRow) -> rollups.Sums:
    return rollups.Sums(calls=1, errors=int(row.status >= 400), saved_nanos=row.saved_nanos)
