"""A usage report for the command line and `/admin/v1`, as JSON or as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.accounts.tables.keys import key_names
from gateway.accounts.tables.teams import show_team
from gateway.database.database import Transaction
from gateway.ledger.rules.usage_grouping import NOT_SPLIT
from gateway.ledger.tables.reports import ANY_NUMBER, UsageLine, spent_by, total_of, usage_by
from gateway.ledger.tables.reuse import paid_by_others
from gateway.queries.models.read_model import Json
from gateway.queries.models.usage import BorrowingView, UsageLineView, UsageView

PAID_BY = "paid_by"
OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "hits": "hit", "coalesced": "coalesced", "misses": "miss", "refreshed": "refreshed",
        "bypassed": "bypass", "refused": "refused", "failed": "failed",
    }
)  # fmt: skip
CAUSES = ("reuse", "coalesced", "automatic_retry", "remembered_refusal")
SUM_COLUMNS = (
    "calls", *OUTCOMES, "error_share", "paid_calls", "images", "spent_usd", "estimated_usd",
    "estimated_share", "corrections_usd", "saved_usd", *(f"saved_{cause}_usd" for cause in CAUSES),
)  # fmt: skip
BORROWING_COLUMNS = ("team", "paid_by_team", "uses", "saved_usd")


@dataclass(frozen=True, slots=True)
class UsageAsked:
    """What a report is of: dimensions or `paid_by`, days of a time zone, a team or all."""

    by: str
    first_day: str
    last_day: str
    timezone: str
    team: str | None = None
    most_sums: int = ANY_NUMBER


async def usage_report(tx: Transaction, asked: UsageAsked) -> UsageView:
    """The report. Raises ValueError for a grouping that can't be, and NotFound."""
    if asked.team is not None:
        await show_team(tx, asked.team)
    report: Json = {
        "by": asked.by,
        "from_day": asked.first_day,
        "to_day": asked.last_day,
        "team": asked.team,
        "timezone": asked.timezone,
    }
    if asked.by == PAID_BY:
        found = await paid_by_others(tx, asked.first_day, asked.last_day, team=asked.team)
        return UsageView.of({**report, "data": [BorrowingView.of(each) for each in found]})
    lines = await usage_by(
        tx,
        asked.by,
        *(asked.first_day, asked.last_day),
        team=asked.team,
        zone=ZoneInfo(asked.timezone),
        most_sums=asked.most_sums,
    )
    views = [UsageLineView.of(line) for line in lines]
    if any("key" in line.groups for line in lines):
        names = await key_names(tx, asked.team)
        views = [
            view.model_copy(update={"name": names.get(view.groups["key"], "")}) for view in views
        ]
    total = UsageLineView.of(total_of(lines))
    return UsageView.of({**report, "data": views, "total": total, "notes": tuple(_notes(lines))})


async def spent_in(tx: Transaction, asked: UsageAsked) -> Mapping[tuple[str, ...], int]:
    """What the report's groups spent, in nano-dollars. Raises ValueError as it does."""
    return await spent_by(
        tx,
        asked.by,
        *(asked.first_day, asked.last_day),
        team=asked.team,
        zone=ZoneInfo(asked.timezone),
        most_sums=asked.most_sums,
    )


def _notes(lines: Sequence[UsageLine]) -> Iterator[str]:
    unsplit = [name for line in lines for name, text in line.groups.items() if text == NOT_SPLIT]
    for name in dict.fromkeys(unsplit):
        if name == "hour":
            yield (
                f"Requests and savings whose single rows are deleted ([state] usage_days) have no "
                f"hour left: they are on the lines {NOT_SPLIT}. Money has its hour."
            )
        else:
            yield (
                f"Requests and savings are not counted by {name}: they are on the lines "
                f"{NOT_SPLIT}. Money is."
            )


def table_of(report: UsageView, *, total: bool = False) -> tuple[list[str], list[Json]]:
    """The columns and the rows of a report, if asked for with its total."""
    if report.total is None:
        return list(BORROWING_COLUMNS), [line.row() for line in report.data]
    names = report.by.replace(" ", "").split(",")
    lines = [*report.data, *([report.total] if total else [])]
    rows = [_flat(line.row(), names) for line in lines]
    return [*names, *(["name"] if "key" in names else []), *SUM_COLUMNS], rows


def _flat(row: Json, names: Sequence[str]) -> Json:
    """A line with a column for each dimension, outcome and cause."""
    outcomes, saved = row["outcomes"], row["saved_usd_by_cause"]
    return {
        **({} if row["groups"] else {names[0]: row["group"]}),
        **{name: row[name] for name in ("name", *SUM_COLUMNS) if name in row},
        **{column: outcomes.get(outcome, 0) for column, outcome in OUTCOMES.items()},
        **{f"saved_{cause}_usd": saved.get(cause, "0") for cause in CAUSES},
        **row["groups"],
    }
