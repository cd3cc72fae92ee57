"""Makes coarser roll-ups of a month anew, where they miss what an older gateway has booked.

While gateways are replaced one after the other, those of a version before these tables still book,
and know none of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.database.database import Transaction
from gateway.ledger.tables.rollups import COLUMNS, MONTH_COLUMNS, TEAM_COLUMNS
from gateway.model.windows import month_days

_SUMS = ", ".join(f"CAST(COALESCE(SUM({name}), 0) AS BIGINT) AS {name}" for name in COLUMNS)
_DAYS = "day >= $1 AND day <= $2"
_MONTHS = "month >= SUBSTR($1, 1, 7) AND month <= SUBSTR($2, 1, 7)"


def _made_anew(table: str, columns: Sequence[str], which: str) -> tuple[str, str]:
    of_day = ["SUBSTR(day, 1, 7)" if name == "month" else name for name in columns]
    return (
        f"DELETE FROM {table} WHERE {which}",
        f"INSERT INTO {table} ({', '.join((*columns, *COLUMNS))}) "
        f"SELECT {', '.join(of_day)}, {_SUMS} FROM rollups WHERE {_DAYS} "
        f"GROUP BY {', '.join(of_day)}",
    )


_TOTALS = (
    f"SELECT {_SUMS} FROM rollups WHERE {_DAYS}",
    f"SELECT {_SUMS} FROM month_rollups WHERE {_MONTHS}",
    f"SELECT {_SUMS} FROM team_rollups WHERE {_DAYS}",
)
_ANEW = (
    *_made_anew("month_rollups", MONTH_COLUMNS, _MONTHS),
    *_made_anew("team_rollups", TEAM_COLUMNS, _DAYS),
)


async def are_whole(tx: Transaction, month: str) -> bool:
    """Do they come to the same as the roll-ups of the days of this month?"""
    rolled_up, *coarser = [(await tx.fetch(sql, *month_days(month)))[0] for sql in _TOTALS]
    return all(dict(each) == dict(rolled_up) for each in coarser)


async def make_anew(tx: Transaction, month: str) -> None:
    """What is booked meanwhile may be missed on PostgreSQL: look again later."""
    for sql in _ANEW:
        await tx.fetch(sql, *month_days(month))
