"""Reports: usage by any dimension from roll-ups, and pages of the ledger.

The days of a report are the days of booking. Sums are exact: the days of a range add up to the
range. The report's own lines are in brackets, such as "(untagged)" and "(total)"; a tag or a name
of the same text is quoted, so that the two are never mixed up.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Literal, TypeVar

from gateway.database.database import Row, Transaction
from gateway.ledger.tables.ledger_rows import STILL_ESTIMATED, LedgerRow, select_ledger_rows
from gateway.ledger.tables.rollups import COLUMNS, Sums
from gateway.model.outcome import Outcome
from gateway.model.windows import window

Name = TypeVar("Name")
UNTAGGED = "(untagged)"
UNKNOWN = "(unknown)"
TOTAL = "(total)"
TAG = "tag:"
_LIKE_OURS = re.compile(r'"*\((untagged|total|unknown)\)"*')

_COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {name: name for name in ("team", "model", "day", "cost_centre", "owner")} | {"key": "key_id"}
)
_OF_CALLS: Mapping[str, str] = MappingProxyType(
    {
        "cost_kind": "CASE WHEN c.stated > 0 THEN 'stated' WHEN c.stated = 0 THEN 'computed' "
        "ELSE k.cost_kind END",
        "upstream": "k.upstream",
    }
)
"""What only a call is of, in the query below: how its cost is known now, as
`BookedCall.cost_kind`, and its upstream."""
_BY_CALLS = """
SELECT kind, CAST(SUM(nanos) AS BIGINT) AS spent_nanos,
  CAST(SUM(paid) AS BIGINT) AS paid_calls, CAST(SUM(corrected) AS BIGINT) AS corrections_nanos,
  CAST(SUM(estimates) AS BIGINT) AS estimated_calls,
  CAST(SUM(estimates * nanos) AS BIGINT) AS estimated_nanos
FROM (
  SELECT l.cost_nanos AS nanos,
    CASE WHEN l.kind = 'call' AND l.cost_nanos + COALESCE(c.nanos, 0) > 0 THEN 1 ELSE 0 END AS paid,
    CASE WHEN l.kind = 'correction' THEN l.cost_nanos ELSE 0 END AS corrected,
    CASE WHEN {0} = '' THEN '{1}' ELSE {0} END AS kind,
    CASE WHEN l.kind = 'call' AND l.estimated = 1 AND c.nanos IS NULL THEN 1 ELSE 0 END AS estimates
  FROM ledger l JOIN ledger k ON k.id = COALESCE(l.corrects, l.id) LEFT JOIN (
    SELECT corrects, SUM(cost_nanos) AS nanos,
      SUM(CASE WHEN cost_kind = 'stated' THEN 1 ELSE 0 END) AS stated
    FROM ledger WHERE corrects IS NOT NULL GROUP BY corrects
  ) c ON c.corrects = k.id
  WHERE l.day >= $1 AND l.day <= $2 AND (l.team = $3 OR $3 = '')
) x GROUP BY kind
"""
_SUMS = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in COLUMNS)


@dataclass(slots=True, kw_only=True)
class UsageLine(Sums):
    """The requests and money of one group; lines of one report never overlap.

    `outcomes` counts the requests by outcome, `saved` is nano-dollars by cause. `spent_nanos`
    includes the corrections (`corrections_nanos`). `paid_calls` are upstream calls with a cost.
    """

    group: str
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)

    @property
    def hits(self) -> int:
        return self.outcomes.get(Outcome.HIT, 0)

    @property
    def coalesced(self) -> int:
        return self.outcomes.get(Outcome.COALESCED, 0)

    @property
    def estimated_share(self) -> float:
        """The estimated part of the spending, 0 to 1."""
        return self.estimated_nanos / self.spent_nanos if self.spent_nanos > 0 else 0.0

    @property
    def error_share(self) -> float:
        """The part of the requests with a status of 400 or more, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0

    def count(self, outcome: str, cause: str, sums: Sums) -> None:
        """Add the sums of one outcome and cause."""
        self.add(sums)
        if outcome:
            _add_to(self.outcomes, {Outcome(outcome): sums.calls})
        if sums.saved_nanos:
            _add_to(self.saved, {cause: sums.saved_nanos})


async def usage_by(
    tx: Transaction, by: str, from_day: str, to_day: str, *, team: str | None = None
) -> list[UsageLine]:
    """Usage from the first of these days to the last, grouped and in order of the group.

    `by` is team, key, model, day, cost_centre, owner, cost_kind, upstream or `tag:NAME`, else
    ValueError is raised. Usage without the tag (or with an empty cost centre or owner) is on the
    line "(untagged)", requests that named no known model on "(unknown)". With cost_kind and
    upstream, only paid calls are of a group: requests and savings are on the line "(untagged)".
    """
    if by in _OF_CALLS:
        return await _by_calls(tx, by, from_day, to_day, team)
    tag = by.removeprefix(TAG) if by.startswith(TAG) else None
    column = "tags" if tag else _COLUMN_OF.get(by)
    if column is None:
        names = ", ".join((*_COLUMN_OF, *_OF_CALLS))
        raise ValueError(f"usage can't be grouped by {by!r}: {names}, tag:NAME")
    sql = (
        f"SELECT {column} AS grp, outcome, cause, {_SUMS} FROM rollups "
        f"WHERE day >= $1 AND day <= $2 {'' if team is None else 'AND team = $3'} "
        f"GROUP BY {column}, outcome, cause"
    )
    values = (from_day, to_day) if team is None else (from_day, to_day, team)
    lines: dict[str, UsageLine] = {}
    for row in await tx.fetch(sql, *values):
        group = _group(row["grp"], tag, UNKNOWN if by == "model" else UNTAGGED)
        line = lines.setdefault(group, UsageLine(group=group))
        line.count(row["outcome"], row["cause"], Sums(**{name: row[name] for name in COLUMNS}))
    return [lines[group] for group in sorted(lines)]


async def _by_calls(
    tx: Transaction, by: str, from_day: str, to_day: str, team: str | None
) -> list[UsageLine]:
    """Money is read from the ledger, requests and savings from the report by team."""
    lines = []
    sql = _BY_CALLS.format(_OF_CALLS[by], UNKNOWN)
    for row in await tx.fetch(sql, from_day, to_day, team or ""):
        line = UsageLine(
            group=row["kind"],
            paid_calls=row["paid_calls"],
            spent_nanos=row["spent_nanos"],
            corrections_nanos=row["corrections_nanos"],
            estimated_calls=row["estimated_calls"],
            estimated_nanos=row["estimated_nanos"],
        )
        lines.append(line)
    requests = total_of(await usage_by(tx, "team", from_day, to_day, team=team))
    unpaid = UsageLine(
        group=UNTAGGED,
        outcomes=requests.outcomes,
        saved=requests.saved,
        calls=requests.calls,
        errors=requests.errors,
        saved_nanos=requests.saved_nanos,
    )
    lines += [unpaid] if unpaid.calls else []
    return sorted(lines, key=attrgetter("group"))


def total_of(lines: Iterable[UsageLine]) -> UsageLine:
    """The sum of a report's lines, as a line of the group "(total)"."""
    total = UsageLine(group=TOTAL)
    for line in lines:
        total.add(line)
        _add_to(total.outcomes, line.outcomes)
        _add_to(total.saved, line.saved)
    return total


def _add_to(sums: dict[Name, int], more: Mapping[Name, int]) -> None:
    for name, number in more.items():
        sums[name] = sums.get(name, 0) + number


async def savings(tx: Transaction, from_day: str, to_day: str) -> list[Row]:
    """Requests served without a paid call: a row for each day, dimensions and cause."""
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
    """The number of times that a result was reused, and the total cost avoided."""

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
    """The results that were reused most often in these days, or that saved most.

    `team` limits the report to reuse by one team. Read from single requests, which are kept for
    `[state] usage_days`.
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
    """The number of times that a team reused results paid by another team, and the savings."""

    team: str
    paid_by_team: str
    uses: int
    saved_nanos: int


async def paid_by_others(
    tx: Transaction, from_day: str, to_day: str, *, team: str | None = None
) -> list[Borrowing]:
    """Reuse of results that another team paid for, most first; of one team if `team` is given.

    Results are shared by teams if `[cache] scope` is "organisation". Read from single requests,
    which are kept for `[state] usage_days`.
    """
    rows = await tx.fetch(
        "SELECT team, paid_by_team, COUNT(*) AS uses, "
        "CAST(SUM(saved_nanos) AS BIGINT) AS saved_nanos FROM usage_rows "
        "WHERE day >= $1 AND day <= $2 AND paid_by_team <> '' AND (team = $3 OR $3 = '') "
        "GROUP BY team, paid_by_team ORDER BY saved_nanos DESC, team, paid_by_team",
        *(from_day, to_day, team or ""),
    )
    return [Borrowing(**row) for row in rows]


def _group(text: str, tag: str | None, empty: str) -> str:
    """The group of a roll-up with this text, or with this tag in its tags."""
    name: str = text if tag is None else json.loads(text).get(tag, "")
    if not name:
        return empty
    return f'"{name}"' if _LIKE_OURS.fullmatch(name) else name


def days_of_report(
    today: str, zone: tzinfo, first_day: str | None = None, last_day: str | None = None
) -> tuple[str, str]:
    """The first and the last day of a report, with defaults for either.

    A report ends today. It begins with the month of its last day, or with this month if that day
    is in the future.
    """
    last = last_day or today
    return first_day or window("month", min(today, last), zone).first_day, last


async def ledger_rows(
    tx: Transaction,
    from_day: str,
    to_day: str,
    *,
    team: str | None = None,
    after: str = "",
    limit: int = 1_000,
    estimated: bool = False,
) -> list[LedgerRow]:
    """A page of the rows booked in these days, of one team if `team` is given.

    Ordered by day of booking, time and id: a correction always comes after its call. `after` is
    the `cursor` of the previous page's last row, else ValueError is raised. `estimated` selects
    calls whose cost is still an estimate.
    """
    return await select_ledger_rows(
        tx,
        f"WHERE l.day <= $1 AND (l.day, l.at_ms, l.id) > ($2, $3, $4) "
        f"AND (l.team = $6 OR $6 = '') {f'AND {STILL_ESTIMATED}' if estimated else ''} "
        "ORDER BY l.day, l.at_ms, l.id LIMIT $5",
        *(to_day, *_place(after, from_day), limit, team or ""),
    )


async def every_row(
    tx: Transaction, from_day: str, to_day: str, *, limit: int = 5_000
) -> AsyncIterator[LedgerRow]:
    """All rows of these days, in the order of `ledger_rows`; ids in ASCII order.

    An engine's text order can change with its libraries; the order of an export must not.
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
    """The `after` of the page that follows this row."""
    return f"{row.day}/{row.at_ms}/{row.id}"


def _place(after: str, from_day: str) -> tuple[str, int, str]:
    if not after:
        return from_day, -1, ""
    day, _, rest = after.partition("/")
    at_ms, _, last = rest.partition("/")
    if day < from_day or not re.fullmatch("[0-9]{1,15}", at_ms):
        raise ValueError(f"{after!r} is not the `next` of an earlier page")
    return day, int(at_ms), last
