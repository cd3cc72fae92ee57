"""Verification: the books proven against the ledger, row by row of each day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.rules.windows import TOTAL
from gateway.state.balances import accounts_of
from gateway.state.database import Row, Transaction

# One statement, so that everything is of one moment even while money moves.
_SUMS = """
SELECT 'ledger' AS source, day, team, key_id, '' AS account,
  CAST(SUM(cost_nanos) AS BIGINT) AS nanos, CAST(SUM(images) AS BIGINT) AS images,
  CAST(SUM(CASE WHEN estimated = 1 THEN cost_nanos ELSE 0 END) AS BIGINT) AS estimated_nanos,
  CAST(SUM(estimated) AS BIGINT) AS estimated, COUNT(*) AS number
FROM ledger GROUP BY day, team, key_id
UNION ALL
SELECT 'no longer estimated', l.day, l.team, l.key_id, '', 0, 0,
  CAST(SUM(l.cost_nanos) AS BIGINT), COUNT(*), 0
FROM ledger l WHERE l.estimated = 1 AND EXISTS (SELECT 1 FROM ledger c WHERE c.corrects = l.id)
GROUP BY l.day, l.team, l.key_id
UNION ALL
SELECT 'reservations', day, team, key_id, '',
  CAST(SUM(ceiling_nanos) AS BIGINT), CAST(SUM(images) AS BIGINT), 0, 0, COUNT(*)
FROM reservations GROUP BY day, team, key_id
UNION ALL
SELECT 'roll-ups', day, team, key_id, '', CAST(SUM(spent_nanos) AS BIGINT), 0,
  CAST(SUM(estimated_nanos) AS BIGINT), CAST(SUM(estimated_calls) AS BIGINT), 0
FROM rollups WHERE outcome = '' GROUP BY day, team, key_id
UNION ALL
SELECT 'spent', day, '', '', account, spent_nanos, images, 0, 0, 0 FROM balances
UNION ALL
SELECT 'held', day, '', '', account, held_nanos, images_held, 0, 0, 0 FROM balances
UNION ALL
SELECT 'resolved twice', r.day, r.team, r.key_id, r.id, r.ceiling_nanos, 0, 0, 0, 1
FROM reservations r JOIN ledger l ON l.id = r.id
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the books don't agree: `what`, for whom, on which day, and both numbers."""

    what: str
    account: str
    day: str
    booked: int
    proven: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found; no differences is the proof. Sums are over everything there ever was."""

    differences: tuple[Difference, ...]
    spent_nanos: int
    held_nanos: int
    estimated_nanos: int
    estimated_calls: int
    ledger_rows: int
    open_reservations: int


_Sums = Counter[tuple[str, str, str]]
"""An amount by what it is, whose, and on which day."""


async def verify(tx: Transaction) -> Verification:
    """Prove balances and roll-ups from the ledger, and what is held from what is open.

    Reads the whole ledger: for a read transaction, not for a request's path.
    """
    rows = await tx.fetch(_SUMS)
    booked, proven = _booked(rows), _proven(rows)
    differences = [
        Difference(*key, booked[key], proven[key])
        for key in sorted(booked.keys() | proven.keys())
        if booked[key] != proven[key]
    ]
    return Verification(
        differences=tuple(differences),
        spent_nanos=_sum(rows, "ledger", "nanos"),
        held_nanos=_sum(rows, "reservations", "nanos"),
        estimated_nanos=_sum(rows, "ledger", "estimated_nanos")
        - _sum(rows, "no longer estimated", "estimated_nanos"),
        estimated_calls=_sum(rows, "ledger", "estimated")
        - _sum(rows, "no longer estimated", "estimated"),
        ledger_rows=_sum(rows, "ledger", "number"),
        open_reservations=_sum(rows, "reservations", "number"),
    )


def _sum(rows: Sequence[Row], source: str, column: str) -> int:
    return sum(row[column] for row in rows if row["source"] == source)


def _booked(rows: Sequence[Row]) -> _Sums:
    """What balances and roll-ups say, and reservations that are open and in the ledger."""
    sums: _Sums = Counter()
    for row in rows:
        source, day = row["source"], row["day"]
        if source in ("spent", "held"):
            sums[f"{source} nanos", row["account"], day] += row["nanos"]
            sums[f"{source} images", row["account"], day] += row["images"]
        elif source == "roll-ups":
            key = f"{row['team']}/{row['key_id']}"
            sums["roll-up spent nanos", key, day] += row["nanos"]
            sums["roll-up estimated nanos", key, day] += row["estimated_nanos"]
            sums["roll-up estimated calls", key, day] += row["estimated"]
        elif source == "resolved twice":
            sums["open and in the ledger", row["account"], day] += row["number"]
    return sums


def _proven(rows: Sequence[Row]) -> _Sums:
    """What they must say, by the ledger and the open reservations."""
    sums: _Sums = Counter()
    for row in rows:
        if row["source"] in ("ledger", "reservations"):
            what = "spent" if row["source"] == "ledger" else "held"
            for account in accounts_of(row["team"], row["key_id"]):
                for day in (row["day"], TOTAL):
                    sums[f"{what} nanos", account.id, day] += row["nanos"]
                    sums[f"{what} images", account.id, day] += row["images"]
        if row["source"] in ("ledger", "no longer estimated"):
            sign = 1 if row["source"] == "ledger" else -1
            key, day = f"{row['team']}/{row['key_id']}", row["day"]
            sums["roll-up spent nanos", key, day] += row["nanos"]
            sums["roll-up estimated nanos", key, day] += sign * row["estimated_nanos"]
            sums["roll-up estimated calls", key, day] += sign * row["estimated"]
    return sums
