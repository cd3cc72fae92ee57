"""Reports: usage by any dimension, from roll-ups alone, and lookups of single calls.

The days of a report are those that money and requests were booked in; sums are exact, so
that the days of a range add up to the range. Lines of our own stand in brackets, "(untagged)"
and "(total)"; a tag or a name that reads the same is shown in quotes, so that it is never
taken for one of ours nor added to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import tzinfo
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Literal

from gateway.database.database import Row, Transaction
from gateway.ledger.tables.ledger_rows import LEDGER_SELECT, LedgerRow
from gateway.ledger.tables.rollups import COLUMNS, Sums
from gateway.model.outcome import Outcome
from gateway.model.windows import window

UNTAGGED = "(untagged)"
TOTAL = "(total)"
TAG = "tag:"
_LIKE_OURS = re.compile(r'"*\((untagged|total)\)"*')

_COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {name: name for name in ("team", "model", "day", "cost_centre", "owner")} | {"key": "key_id"}
)
_SUMS = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in COLUMNS)


@dataclass(slots=True)
class UsageLine:
    """One group's requests and money; lines of one report never overlap.

    `outcomes` count the requests by how they ended, `saved` is nano-dollars by cause.
    `spent_nanos` is the ledger's, corrections (`corrections_nanos`) within it. `paid_calls`
    are the upstream calls that were charged: those that cost nothing are not among them.
    """

    group: str
    calls: int = 0
    errors: int = 0
    paid_calls: int = 0
    spent_nanos: int = 0
    estimated_calls: int = 0
    estimated_nanos: int = 0
    corrections_nanos: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)

    @property
    def hits(self) -> int:
        return self.outcomes.get(Outcome.HIT, 0)

    @property
    def coalesced(self) -> int:
        return self.outcomes.get(Outcome.COALESCED, 0)

    @property
    def saved_nanos(self) -> int:
        return sum(self.saved.values())

    @property
    def estimated_share(self) -> float:
        """The part of what was spent that is an estimate, 0 to 1."""
        return self.estimated_nanos / self.spent_nanos if self.spent_nanos > 0 else 0.0

    @property
    def error_share(self) -> float:
        """The part of the requests that got a status of 400 or more, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0

    def add(self, outcome: str, cause: str, sums: Sums) -> None:
        """Take in the sums of one outcome and cause."""
        self.calls += sums.calls
        self.errors += sums.errors
        self.paid_calls += sums.paid_calls
        self.spent_nanos += sums.spent_nanos
        self.estimated_calls += sums.estimated_calls
        self.estimated_nanos += sums.estimated_nanos
        self.corrections_nanos += sums.corrections_nanos
        if outcome:
            ended = Outcome(outcome)
            self.outcomes[ended] = self.outcomes.get(ended, 0) + sums.calls
        if sums.saved_nanos:
            self.saved[cause] = self.saved.get(cause, 0) + sums.saved_nanos


async def usage_by(
    tx: Transaction, by: str, from_day: str, to_day: str, *, team: str | None = None
) -> list[UsageLine]:
    """Usage from the first of these days to the last, grouped and in order of the group.

    `by` is team, key, model, day, cost_centre, owner or `tag:NAME`; what has no such tag (or
    an empty cost centre or owner) is on the line "(untagged)". Raises ValueError for another.
    """
    tag = by.removeprefix(TAG) if by.startswith(TAG) else None
    column = "tags" if tag else _COLUMN_OF.get(by)
    if column is None:
        raise ValueError(f"usage can't be grouped by {by!r}: {', '.join(_COLUMN_OF)}, tag:NAME")
    sql = (
        f"SELECT {column} AS grp, outcome, cause, {_SUMS} FROM rollups "
        f"WHERE day >= $1 AND day <= $2 {'' if team is None else 'AND team = $3'} "
        f"GROUP BY {column}, outcome, cause"
    )
    values = (from_day, to_day) if team is None else (from_day, to_day, team)
    lines: dict[str, UsageLine] = {}
    for row in await tx.fetch(sql, *values):
        group = _group(row["grp"], tag)
        line = lines.setdefault(group, UsageLine(group))
        line.add(row["outcome"], row["cause"], Sums(**{name: row[name] for name in COLUMNS}))
    return [lines[group] for group in sorted(lines)]


def total_of(lines: Iterable[UsageLine]) -> UsageLine:
    """The sum of a report's lines, as a line of the group "(total)"."""
    total = UsageLine(TOTAL)
    for line in lines:
        for column in fields(UsageLine):
            here, there = getattr(total, column.name), getattr(line, column.name)
            if isinstance(here, int):
                setattr(total, column.name, here + there)
            elif isinstance(here, dict):
                here.update({name: here.get(name, 0) + number for name, number in there.items()})
    return total


async def savings(tx: Transaction, from_day: str, to_day: str) -> list[Row]:
    """What was had for nothing, a row a day and place: `day`, the dimensions, `calls` and
    `saved_nanos`, in the order of days."""
    names = "day, team, key_id, model, owner, cost_centre, tags, cause"
    rows = await tx.fetch(
        f"SELECT {names}, CAST(SUM(calls) AS BIGINT) AS calls, "
        "CAST(SUM(saved_nanos) AS BIGINT) AS saved_nanos FROM rollups "
        f"WHERE day >= $1 AND day <= $2 AND saved_nanos > 0 GROUP BY {names}",
        *(from_day, to_day),
    )
    return sorted(rows, key=itemgetter(*names.split(", ")))


@dataclass(frozen=True, slots=True)
class Reuse:
    """How often a result was had for nothing, and what it would have cost each time together."""

    fingerprint: str
    model: str
    uses: int
    saved_nanos: int


async def most_reused(
    tx: Transaction,
    from_day: str,
    to_day: str,
    *,
    by: Literal["uses", "saved_nanos"] = "uses",
    team: str | None = None,
    limit: int = 10,
) -> list[Reuse]:
    """The results that were most often had for nothing in these days, or that saved most.

    From single requests, which are kept for `[state] usage_days`; a team's alone where one is
    named, whoever paid for the picture.
    """
    other = "saved_nanos" if by == "uses" else "uses"
    rows = await tx.fetch(
        "SELECT fingerprint, MIN(model) AS model, COUNT(*) AS uses, "
        "CAST(SUM(saved_nanos) AS BIGINT) AS saved_nanos FROM usage_rows "
        "WHERE day >= $1 AND day <= $2 AND fingerprint <> '' AND outcome IN ('hit', 'coalesced') "
        "AND (team = $3 OR $3 = '') GROUP BY fingerprint "
        f"ORDER BY {by} DESC, {other} DESC, fingerprint LIMIT $4",
        *(from_day, to_day, team or "", limit),
    )
    return [Reuse(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Borrowing:
    """How often a team was given pictures that another had paid for, and what that saved it."""

    team: str
    paid_by_team: str
    uses: int
    saved_nanos: int


async def paid_by_others(
    tx: Transaction, from_day: str, to_day: str, *, team: str | None = None
) -> list[Borrowing]:
    """What teams used in these days that another had paid for, most first; one team's alone
    where one is named. From single requests, which are kept for `[state] usage_days`.

    Results are shared by teams where `[cache] scope` is "organisation".
    """
    rows = await tx.fetch(
        "SELECT team, paid_by_team, COUNT(*) AS uses, "
        "CAST(SUM(saved_nanos) AS BIGINT) AS saved_nanos FROM usage_rows "
        "WHERE day >= $1 AND day <= $2 AND paid_by_team <> '' AND (team = $3 OR $3 = '') "
        "GROUP BY team, paid_by_team ORDER BY saved_nanos DESC, team, paid_by_team",
        *(from_day, to_day, team or ""),
    )
    return [Borrowing(**row) for row in rows]


def _group(text: str, tag: str | None) -> str:
    """The line that this text of a roll-up, or this tag among its tags, is counted on."""
    name: str = text if tag is None else json.loads(text).get(tag, "")
    if not name:
        return UNTAGGED
    return f'"{name}"' if _LIKE_OURS.fullmatch(name) else name


def days_of_report(
    today: str, zone: tzinfo, first_day: str | None = None, last_day: str | None = None
) -> tuple[str, str]:
    """The first and the last day of a report, of which either may be given.

    Without them it ends today, and begins with the month of its last day, or with this month
    where that day is yet to come.
    """
    last = last_day or today
    return first_day or window("month", min(today, last), zone).first_day, last


async def calls_of(tx: Transaction, request_id: str) -> list[LedgerRow]:
    """The ledger's rows of one request, corrections too, in the order they were booked in."""
    rows = await tx.fetch(
        f"SELECT {LEDGER_SELECT} FROM ledger WHERE request_id = $1 ORDER BY at_ms, id", request_id
    )
    return _ledger(rows)


async def estimated_calls(
    tx: Transaction,
    from_day: str,
    to_day: str,
    *,
    team: str | None = None,
    after: str = "",
    limit: int = 1_000,
) -> list[LedgerRow]:
    """Calls of these days whose cost is still an estimate, a team's alone where one is named,
    in pages; their order and `after` as in `ledger_rows`."""
    rows = await tx.fetch(
        f"SELECT {LEDGER_SELECT} FROM ledger l WHERE l.estimated = 1 AND l.day <= $1 "
        "AND (l.day, l.at_ms, l.id) > ($2, $3, $4) "
        "AND NOT EXISTS (SELECT 1 FROM ledger c WHERE c.corrects = l.id) "
        "AND (l.team = $6 OR $6 = '') ORDER BY l.day, l.at_ms, l.id LIMIT $5",
        *(to_day, *_place(after, from_day), limit, team or ""),
    )
    return _ledger(rows)


async def ledger_rows(
    tx: Transaction,
    from_day: str,
    to_day: str,
    *,
    team: str | None = None,
    after: str = "",
    limit: int = 1_000,
) -> list[LedgerRow]:
    """Every row booked in these days, a team's alone where one is named, in pages.

    Ordered by the day it is booked in, then by time, then by id: a correction is booked in
    its call's day and always comes after it. `after` is the last page's last row, by `cursor`.
    Raises ValueError where it is no such thing.
    """
    rows = await tx.fetch(
        f"SELECT {LEDGER_SELECT} FROM ledger WHERE day <= $1 "
        "AND (day, at_ms, id) > ($2, $3, $4) "
        "AND (team = $6 OR $6 = '') ORDER BY day, at_ms, id LIMIT $5",
        *(to_day, *_place(after, from_day), limit, team or ""),
    )
    return _ledger(rows)


async def every_row(
    tx: Transaction, from_day: str, to_day: str, *, limit: int = 5_000
) -> AsyncIterator[LedgerRow]:
    """All rows of these days, in the order of `ledger_rows`; ids as ASCII on every engine.

    How an engine orders texts can change with its libraries; what was printed must not.
    """
    after, waiting = "", list[LedgerRow]()
    while True:
        page = await ledger_rows(tx, from_day, to_day, after=after, limit=limit)
        for row in page:
            if waiting and (row.day, row.at_ms) != (waiting[0].day, waiting[0].at_ms):
                for each in sorted(waiting, key=attrgetter("id")):
                    yield each
                waiting.clear()
            waiting.append(row)
        if len(page) < limit:
            break
        after = cursor(page[-1])
    for each in sorted(waiting, key=attrgetter("id")):
        yield each


def cursor(row: LedgerRow) -> str:
    """Where the page after this row begins."""
    return f"{row.day}/{row.at_ms}/{row.id}"


def _place(after: str, from_day: str) -> tuple[str, int, str]:
    """The day, time and id that the page comes after."""
    if not after:
        return from_day, -1, ""
    day, _, rest = after.partition("/")
    at_ms, _, last = rest.partition("/")
    if day < from_day or not re.fullmatch("[0-9]{1,15}", at_ms):
        raise ValueError(f"{after!r} is not what the last page gave as next")
    return day, int(at_ms), last


def _ledger(rows: Sequence[Row]) -> list[LedgerRow]:
    return [LedgerRow(**row) for row in rows]
