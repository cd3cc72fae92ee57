"""The sums that usage reports are made of: from roll-ups, from the ledger, from single requests.

Roll-ups have everything but upstream, cost kind and hour; coarser ones are read where they have
what a report needs. Upstream, cost kind and hour are read from the rows of the days:
a correction is of its call's upstream and hour, and the cost kind is that which the call has now.
On each day, rows count what the roll-ups of that day count: a late correction changes the numbers
of paid calls and of estimates on the day on which it is booked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.database.database import Row, Transaction
from gateway.ledger.rules.usage_grouping import QUARTER, QUARTER_MS
from gateway.ledger.rules.usage_sources import sources
from gateway.ledger.tables.ledger_rows import standing
from gateway.ledger.tables.rollups import COLUMNS

REQUESTS = ("calls", "errors", "saved_nanos")
MONEY = tuple(name for name in COLUMNS if name not in REQUESTS)

_STANDING = standing("x")
_AGAIN = (
    "(CASE WHEN m.day <> k.day AND m.standing_before + m.standing = 0 THEN 1 ELSE 0 END"
    " - CASE WHEN m.day <> k.day AND m.standing_before = 0 THEN 1 ELSE 0 END)"
)
"""1 where late corrections made a call an estimate again, -1 where it was one until then."""


def _of_kind(kind: str) -> str:
    """The standing corrections of a call `k` that make its cost known in this way."""
    return (
        f"COALESCE((SELECT SUM({standing('s')}) FROM ledger s "
        f"WHERE s.corrects = k.id AND s.cost_kind = '{kind}'), 0)"
    )


# Calls and adjustments, and after them the corrections, one row for a call and day. `c` is of the
# corrections that may concern a call of these days, `m` of those booked in them.
_CALLS = f"""
SELECT l.day, l.team, l.key_id, l.model, l.owner, l.cost_centre, l.tags, l.end_user,
  l.upstream,
  l.at_ms / {QUARTER_MS} AS quarter,
  CASE WHEN c.stated > 0 THEN 'stated' WHEN c.summed > 0 THEN 'confirmed_by_sum'
    WHEN c.standing > 0 THEN 'computed' ELSE l.cost_kind END AS cost_kind,
  l.cost_nanos AS spent_nanos, l.images,
  CASE WHEN l.kind = 'call' AND l.cost_nanos + COALESCE(c.nanos, 0) > 0 THEN 1 ELSE 0 END
    AS paid_calls,
  CASE WHEN c.standing_then > 0 THEN 0 ELSE l.estimated END AS estimated_calls,
  CASE WHEN c.standing_then > 0 OR l.estimated = 0 THEN 0 ELSE l.cost_nanos END AS estimated_nanos,
  0 AS corrections_nanos
FROM ledger l LEFT JOIN (
  SELECT x.corrects, SUM({_STANDING}) AS standing,
    SUM(CASE WHEN x.cost_kind = 'stated' THEN {_STANDING} ELSE 0 END) AS stated,
    SUM(CASE WHEN x.cost_kind = 'confirmed_by_sum' THEN {_STANDING} ELSE 0 END) AS summed,
    SUM(CASE WHEN x.day = k.day THEN {_STANDING} ELSE 0 END) AS standing_then,
    SUM(CASE WHEN x.day = k.day THEN x.cost_nanos ELSE 0 END) AS nanos
  FROM ledger x JOIN ledger k ON k.id = x.corrects
  WHERE x.corrects IS NOT NULL AND x.day >= $1 GROUP BY x.corrects
) c ON c.corrects = l.id
WHERE l.day >= $1 AND l.day <= $2 AND l.corrects IS NULL AND (l.team = $3 OR $3 = '')
UNION ALL
SELECT m.day, k.team, k.key_id, k.model, k.owner, k.cost_centre, k.tags, k.end_user,
  k.upstream,
  k.at_ms / {QUARTER_MS},
  CASE WHEN {_of_kind("stated")} > 0 THEN 'stated'
    WHEN {_of_kind("confirmed_by_sum")} > 0 THEN 'confirmed_by_sum'
    WHEN {_of_kind("computed")} > 0 THEN 'computed' ELSE k.cost_kind END,
  m.nanos, m.images,
  CASE WHEN m.day = k.day OR k.kind <> 'call' THEN 0 ELSE
    CASE WHEN k.cost_nanos + m.nanos_before + m.nanos > 0 THEN 1 ELSE 0 END
    - CASE WHEN k.cost_nanos + m.nanos_before > 0 THEN 1 ELSE 0 END END,
  {_AGAIN} * k.estimated, {_AGAIN} * k.estimated * k.cost_nanos,
  CASE WHEN k.kind = 'call' THEN m.nanos ELSE 0 END
FROM (
  SELECT n.*, COALESCE((SELECT SUM(b.cost_nanos) FROM ledger b
      WHERE b.corrects = n.corrects AND b.day < n.day), 0) AS nanos_before,
    COALESCE((SELECT SUM({standing("b")}) FROM ledger b
      WHERE b.corrects = n.corrects AND b.day < n.day), 0) AS standing_before
  FROM (
    SELECT corrects, day, SUM(cost_nanos) AS nanos, SUM(images) AS images,
      SUM({standing("ledger")}) AS standing
    FROM ledger WHERE corrects IS NOT NULL AND day >= $1 AND day <= $2 AND (team = $3 OR $3 = '')
    GROUP BY corrects, day
  ) n
) m JOIN ledger k ON k.id = m.corrects
"""
_QUARTER_HOURS = f"""
SELECT day, team, key_id, model, owner, cost_centre, tags, end_user, outcome, cause,
  at_ms / {QUARTER_MS} AS quarter, 1 AS calls,
  CASE WHEN status >= 400 THEN 1 ELSE 0 END AS errors, saved_nanos
FROM usage_rows WHERE day >= $1 AND day <= $2 AND (team = $3 OR $3 = '')
"""
_COMPUTED = {"month": "substr(day, 1, 7) AS month"}
_NEWEST = "SELECT MAX(day) AS day FROM rollups"


class ReportTooLong(ValueError):
    """More sums than the reader takes."""


@dataclass(frozen=True, slots=True)
class SumsOf:
    """The days of a report, the team if it is of one, and how many sums its reader takes."""

    first_day: str
    last_day: str
    team: str
    most: int


async def rollup_sums(
    tx: Transaction, columns: Sequence[str], of: SumsOf, *, requests_only: bool = False
) -> Sequence[Row]:
    """All sums by these columns, outcome and cause, or those of requests alone.

    They are of up to three tables: several rows may be of one group.
    """
    keys = [*columns, "outcome", "cause"]
    return await _rolled_up(tx, keys, COLUMNS, "AND outcome <> ''" if requests_only else "", of)


async def spent_sums(tx: Transaction, columns: Sequence[str], of: SumsOf) -> Sequence[Row]:
    """What was spent by these columns, and no other sum; several rows may be of one group."""
    return await _rolled_up(tx, columns, ["spent_nanos"], "AND outcome = ''", of)


async def _rolled_up(
    tx: Transaction, keys: Sequence[str], sums: Sequence[str], only: str, of: SumsOf
) -> Sequence[Row]:
    newest = (await tx.fetch(_NEWEST))[0]["day"] or ""
    names = [name for name in keys if name not in ("day", "month")]
    found: list[Row] = []
    for source in sources(keys, of.first_day, of.last_day, newest):
        time = "month" if source.table == "month_rollups" else "day"
        rows = (
            f"SELECT {', '.join((f'{time} AS day', *names, *sums))} FROM {source.table} "
            f"WHERE {time} >= $1 AND {time} <= $2 AND (team = $3 OR $3 = '') {only}"
        )
        part = replace(of, first_day=source.first, last_day=source.last)
        found += await _grouped(tx, rows, keys, sums, part)
    return _checked(found, of.most)


async def call_sums(tx: Transaction, columns: Sequence[str], of: SumsOf) -> Sequence[Row]:
    """The sums of MONEY by these columns, from the ledger."""
    return await _grouped(tx, _CALLS, columns, MONEY, of)


async def quarter_hour_sums(tx: Transaction, columns: Sequence[str], of: SumsOf) -> Sequence[Row]:
    """The sums of REQUESTS by these columns and quarter hour, outcome and cause."""
    keys = [*columns, QUARTER, "outcome", "cause"]
    return await _grouped(tx, _QUARTER_HOURS, keys, REQUESTS, of)


async def _grouped(
    tx: Transaction, rows: str, columns: Sequence[str], sums: Sequence[str], of: SumsOf
) -> Sequence[Row]:
    keys = ", ".join(_COMPUTED.get(name, name) for name in columns)
    added = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in sums)
    found = await tx.fetch(
        f"SELECT {keys}, {added} FROM ({rows}) x GROUP BY {', '.join(columns)} LIMIT $4",
        *(of.first_day, of.last_day, of.team, of.most + 1),
    )
    return _checked(found, of.most)


def _checked(found: Sequence[Row], most: int) -> Sequence[Row]:
    if len(found) > most:
        raise ReportTooLong(
            f"the report has more than {most:,} sums: name fewer dimensions, or fewer days"
        )
    return found
