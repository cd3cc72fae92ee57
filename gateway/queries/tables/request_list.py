"""Requests of a time, newest first, each with what is booked for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.database.database import Row, Transaction

_COLUMNS = (
    "id", "at_ms", "day", "request_id", "team", "key_id", "end_user", "route", "model", "outcome",
    "status", "code", "saved_nanos", "took_us",
)  # fmt: skip
_KEY_NAME = "(SELECT name FROM accounts WHERE accounts.id = 'key:' || u.key_id)"
_COST = "(SELECT COALESCE(SUM(cost_nanos), 0) FROM ledger WHERE ledger.request_id = u.request_id)"
_FILTERS = "team", "key_id", "end_user", "model", "outcome"
_MAKER = " UNION ALL ".join(
    f"SELECT team, key_id, end_user FROM {table} WHERE request_id = $1"
    for table in ("usage_rows", "ledger", "reservations")
)


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests; an empty text is any. `cost_nanos`: that cost this much or more."""

    first_day: str
    last_day: str
    team: str = ""
    key_id: str = ""
    end_user: str = ""
    model: str = ""
    outcome: str = ""
    cost_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class ListedRequest:
    """A request that has ended. `row_id` is its usage row's; the others are as there."""

    row_id: str
    day: str
    at_ms: int
    id: str
    team: str
    key_id: str
    key_name: str
    end_user: str
    route: str
    model: str
    outcome: str
    status: int
    code: str
    saved_nanos: int
    took_us: int
    cost_nanos: int

    @property
    def cursor(self) -> str:
        return json.dumps([self.day, self.at_ms, self.row_id], separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a request."""

    team: str
    key_id: str
    end_user: str


async def list_requests(
    tx: Transaction, wanted: RequestFilter, *, after: str = "", limit: int
) -> Sequence[ListedRequest]:
    """The newest requests, or those after a `cursor`. Raises ValueError for no cursor."""
    values: list[str | int] = [wanted.first_day, wanted.last_day]
    clauses = ["u.day >= $1", "u.day <= $2"]
    for name in _FILTERS:
        if text := getattr(wanted, name):
            values.append(text)
            clauses.append(f"u.{name} = ${len(values)}")
    if wanted.cost_nanos is not None:
        values.append(wanted.cost_nanos)
        clauses.append(f"{_COST} >= ${len(values)}")
    if after:
        values += _place(after)
        last = len(values)
        clauses.append(f"(u.day, u.at_ms, u.id) < (${last - 2}, ${last - 1}, ${last})")
    rows = await tx.fetch(
        f"SELECT {', '.join(f'u.{name}' for name in _COLUMNS)}, "
        f"{_KEY_NAME} AS key_name, {_COST} AS cost "
        f"FROM usage_rows u WHERE {' AND '.join(clauses)} "
        f"ORDER BY u.day DESC, u.at_ms DESC, u.id DESC LIMIT ${len(values) + 1}",
        *values,
        limit,
    )
    return [_listed(row) for row in rows]


async def maker_of(tx: Transaction, request_id: str) -> Maker | None:
    """Who made a request; None where the state knows nothing of it."""
    rows = await tx.fetch(f"{_MAKER} LIMIT 1", request_id)
    return Maker(**rows[0]) if rows else None


def _place(cursor: str) -> list[str | int]:
    try:
        match json.loads(cursor):
            case [str(day), int(at_ms), str(row_id)] if abs(at_ms) < 2**62:
                return [day, at_ms, row_id]
    except (ValueError, RecursionError):
        pass
    raise ValueError(cursor)


def _listed(row: Row) -> ListedRequest:
    found = dict(row)
    return ListedRequest(
        row_id=found.pop("id"),
        id=found.pop("request_id"),
        cost_nanos=int(found.pop("cost")),
        key_name=found.pop("key_name") or "",
        **found,
    )
