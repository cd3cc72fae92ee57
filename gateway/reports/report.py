"""A usage report of the organisation or of a team, from the read models of `gateway usage`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accounts.tables.accounts import AccountRecord
from gateway.database.database import Transaction
from gateway.model.windows import Window
from gateway.queries.models.usage import UsageLineView, UsageView
from gateway.queries.usage_report import UsageAsked, usage_report

OF_ORGANISATION = ("team", "cost_centre", "model", "day")
OF_TEAM = ("key", "model", "day")


@dataclass(frozen=True, slots=True)
class ReportAsked:
    """Whose report, of which days, and of which days before to compare them with.

    `account` is the organisation or a team.
    """

    account: AccountRecord
    days: Window
    days_before: Window
    timezone: str

    @property
    def team(self) -> str | None:
        return self.account.name if self.account.level == "team" else None


@dataclass(frozen=True, slots=True)
class Report:
    """Usage by one dimension at a time: each table has the same total."""

    asked: ReportAsked
    tables: Sequence[UsageView]
    total: UsageLineView
    before: UsageLineView

    @property
    def is_empty(self) -> bool:
        """Nobody asked for anything, and nothing was booked."""
        return not any(table.data for table in self.tables)


async def read_report(tx: Transaction, asked: ReportAsked) -> Report:
    """Read a report, all of it from one transaction."""

    async def usage(by: str, days: Window) -> UsageView:
        return await usage_report(
            tx, UsageAsked(by, days.first_day, days.last_day, asked.timezone, asked.team)
        )

    dimensions = OF_TEAM if asked.team else OF_ORGANISATION
    tables = [await usage(by, asked.days) for by in dimensions]
    before = await usage(dimensions[0], asked.days_before)
    return Report(asked, tables, _total(tables[0]), _total(before))


def _total(view: UsageView) -> UsageLineView:
    if view.total is None:
        raise TypeError(f"usage by {view.by} has no total")
    return view.total
