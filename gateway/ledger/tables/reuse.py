"""Reports of reuse: what was saved, by what result, and at whose cost."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from gateway.database.database import Row, Transaction


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
