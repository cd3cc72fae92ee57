"""Reports: usage by any dimensions, and pages of the ledger.

The days of a report are the days of booking. Sums are exact: the days of a range add up to the
range, and the groups of any dimensions to the same total.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from operator import attrgetter
from typing import TypeVar

from gateway.database.database import Row, Transaction
from gateway.ledger.rules.usage_grouping import BY_CALL_COLUMNS, QUARTER, TOTAL, Grouping
from gateway.ledger.tables.ledger_rows import STILL_ESTIMATED, LedgerRow, select_ledger_rows
from gateway.ledger.tables.rollups import COLUMNS, Sums
from gateway.ledger.tables.usage_sums import (
    MONEY,
    REQUESTS,
    SumsOf,
    call_sums,
    quarter_hour_sums,
    rollup_sums,
    spent_sums,
)
from gateway.model.outcome import Outcome
from gateway.model.windows import window

Name = TypeVar("Name")
ANY_NUMBER = 10**9


@dataclass(slots=True, kw_only=True)
class UsageLine(Sums):
    """The requests and money of one group; lines of one report never overlap.

    `groups` is the group in each dimension, by its name; a total has none. `outcomes` counts the
    requests by outcome, `saved` is nano-dollars by cause. `spent_nanos` includes the corrections
    (`corrections_nanos`). `paid_calls` are upstream calls with a cost, `images` what they bought.
    """

    groups: Mapping[str, str] = field(default_factory=dict)
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The group as one text."""
        return ", ".join(self.groups.values()) or TOTAL

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
    tx: Transaction,
    by: str,
    from_day: str,
    to_day: str,
    *,
    team: str | None = None,
    zone: tzinfo = UTC,
    most_sums: int = ANY_NUMBER,
) -> list[UsageLine]:
    """Usage from the first of these days to the last, grouped and in order of the groups.

    `by` is one or more of `usage_grouping.KNOWN`, separated by commas, else ValueError is raised.
    Usage without a tag, owner or cost centre is in the group "(untagged)", requests that named no
    known model in "(unknown)". Requests and savings are not counted by upstream and cost kind, and
    not by hour once their rows are deleted: they are in the group "(not split)" then. Raises
    ReportTooLong where more than `most_sums` are to be added up.
    """
    grouping = Grouping.of(by)
    of = SumsOf(from_day, to_day, team or "", most_sums)
    lines = _Lines(grouping, zone)
    if not grouping.by_call:
        lines.add(await rollup_sums(tx, grouping.columns, of), COLUMNS)
        return lines.in_order()
    lines.add(await call_sums(tx, grouping.columns, of), MONEY)
    kept = [name for name in grouping.columns if name not in BY_CALL_COLUMNS]
    lines.add(await rollup_sums(tx, kept, of, requests_only=True), REQUESTS)
    if QUARTER in grouping.columns:
        lines.split(await quarter_hour_sums(tx, kept, of))
    return lines.in_order()


async def spent_by(
    tx: Transaction,
    by: str,
    from_day: str,
    to_day: str,
    *,
    team: str | None = None,
    zone: tzinfo = UTC,
    most_sums: int = ANY_NUMBER,
) -> Mapping[tuple[str, ...], int]:
    """What the groups of `usage_by` spent, in nano-dollars; it reads nothing else, and is quicker.

    Raises ValueError and ReportTooLong as `usage_by` does.
    """
    grouping = Grouping.of(by)
    of = SumsOf(from_day, to_day, team or "", most_sums)
    read = call_sums if grouping.by_call else spent_sums
    spent: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for row in await read(tx, grouping.columns, of):
        spent[grouping.group(row, zone)] += row["spent_nanos"]
    return spent


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of a report while its sums are read."""

    grouping: Grouping
    zone: tzinfo
    by_group: dict[tuple[str, ...], UsageLine] = field(default_factory=dict)

    def add(self, rows: Iterable[Row], columns: Sequence[str]) -> None:
        for row in rows:
            self._count(row, row, Sums(**{name: row[name] for name in columns}))

    def split(self, rows: Iterable[Row]) -> None:
        """Count these requests in their hours, and no longer among those not split."""
        for row in rows:
            sums = {name: row[name] for name in REQUESTS}
            self._count(row, row, Sums(**sums))
            rest = {name: value for name, value in row.items() if name != QUARTER}
            self._count(rest, row, Sums(**{name: -value for name, value in sums.items()}))

    def _count(self, group_of: Mapping[str, object], row: Row, sums: Sums) -> None:
        group = self.grouping.group(group_of, self.zone)
        if (line := self.by_group.get(group)) is None:
            named = dict(zip(self.grouping.names, group, strict=True))
            line = self.by_group[group] = UsageLine(groups=named)
        line.count(row.get("outcome", ""), row.get("cause", ""), sums)

    def in_order(self) -> list[UsageLine]:
        """The lines, without those whose requests have all been split."""
        lines = [self.by_group[group] for group in sorted(self.by_group)]
        for line in lines:
            line.outcomes = {name: number for name, number in line.outcomes.items() if number}
            line.saved = {cause: nanos for cause, nanos in line.saved.items() if nanos}
        if QUARTER not in self.grouping.columns:
            return lines
        return [line for line in lines if any(getattr(line, name) for name in COLUMNS)]


def total_of(lines: Iterable[UsageLine]) -> UsageLine:
    """The sum of a report's lines, as a line of the group "(total)"."""
    total = UsageLine()
    for line in lines:
        total.add(line)
        _add_to(total.outcomes, line.outcomes)
        _add_to(total.saved, line.saved)
    return total


def _add_to(sums: dict[Name, int], more: Mapping[Name, int]) -> None:
    for name, number in more.items():
        sums[name] = sums.get(name, 0) + number


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
