"""Which tables of roll-ups a usage report is read from: the smallest that have its dimensions."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Table = Literal["rollups", "month_rollups", "team_rollups"]
_OF_TEAMS = frozenset(("team", "model", "day", "month", "outcome", "cause"))


@dataclass(frozen=True, slots=True)
class SumSource:
    """A table, and the first and last of its days; of `month_rollups`, of its months."""

    table: Table
    first: str
    last: str


def sources(
    columns: Sequence[str], first_day: str, last_day: str, newest_day: str
) -> Sequence[SumSource]:
    """Where the sums of these days by these columns are, none of them twice.

    Nothing is booked after `newest_day`: the month of a report that ends there is whole.
    """
    by_day: Table = "team_rollups" if _OF_TEAMS.issuperset(columns) else "rollups"
    whole = SumSource(by_day, first_day, last_day)
    if first_day > last_day or not {"day", "end_user"}.isdisjoint(columns):
        return [whole]
    first = _number(first_day) + (first_day[8:] != "01")
    last = _number(last_day) - (last_day < min(_last_day(last_day), newest_day))
    if first > last:
        return [whole]
    # As texts, day 00 is after the month before, and day 32 before the next.
    edges = [
        (first_day, f"{_month(first)}-00"),
        (f"{_month(last)}-32", last_day),
    ]
    return [
        SumSource("month_rollups", _month(first), _month(last)),
        *(SumSource(by_day, *days) for days in edges if days[0] < days[1]),
    ]


def _number(day: str) -> int:
    """The months until the month of a day."""
    return 12 * int(day[:4]) + int(day[5:7]) - 1


def _month(number: int) -> str:
    return f"{number // 12:04}-{number % 12 + 1:02}"


def _last_day(day: str) -> str:
    """The last day of the month of a day."""
    return f"{day[:7]}-{monthrange(int(day[:4]), int(day[5:7]))[1]}"
