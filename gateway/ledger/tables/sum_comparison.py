"""Comparison of the ledger with a statement of sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property

from gateway.database.database import Transaction
from gateway.ledger.rules.payer import Shift
from gateway.ledger.rules.statement_limits import ChangeSize
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.rules.statement_period import Coverage
from gateway.ledger.rules.statement_sums import (
    ComparedSum,
    booked_at,
    compare_groups,
    days_around,
)
from gateway.ledger.tables.ledger_calls import is_at, ledger_calls
from gateway.ledger.tables.statement_comparison import Source, first_open
from gateway.model.windows import day_of

_HELD = (
    "SELECT upstream, COUNT(*) AS calls FROM reservations WHERE day >= $1 AND day <= $2 "
    "GROUP BY upstream"
)


@dataclass(frozen=True)
class SumComparison:
    """A statement of sums, and the ledger of these days in the statement's time zone."""

    first_day: str
    last_day: str
    zone: tzinfo
    options: StatementOptions
    lines: int
    sums: tuple[ComparedSum, ...]
    pending: int
    """The number of calls of these days that are not settled."""
    booked_in: str | None
    """The day of booking, if all of these days are closed: the first open day."""

    @property
    def by_model(self) -> bool:
        return any(each.group.model for each in self.sums)

    @property
    def differing(self) -> list[ComparedSum]:
        return [each for each in self.sums if each.nanos]

    @property
    def estimates(self) -> list[str]:
        """The calls whose cost is an estimate that a sum covers."""
        return [call.id for each in self.sums for call in each.estimates]

    @property
    def changes(self) -> int:
        return sum(len(each.shares) for each in self.sums) + len(self.estimates)

    @property
    def billed_nanos(self) -> int:
        return sum(each.billed_nanos for each in self.sums)

    @property
    def booked_nanos(self) -> int:
        return sum(each.booked_nanos for each in self.sums)

    @property
    def off_nanos(self) -> int:
        """The ledger's excess over the statement."""
        return self.booked_nanos - self.billed_nanos

    @cached_property
    def shifts(self) -> list[Shift]:
        """The amounts to book."""
        return [
            Shift(payer.team, payer.key_id, self._day(each), nanos)
            for each in self.sums
            for payer, nanos in each.shares
        ]

    def _day(self, compared: ComparedSum) -> str:
        return day_of(booked_at(compared.group, self.options), self.zone)

    @property
    def size(self) -> ChangeSize:
        known = [each for each in self.sums if not each.estimates]
        return ChangeSize(
            calls=sum(each.calls for each in self.sums),
            extra=0,
            changed_nanos=sum(abs(each.nanos) for each in self.sums),
            sum_nanos=max(self.booked_nanos, self.billed_nanos),
            billed_nanos=sum(each.billed_nanos for each in known),
            booked_nanos=sum(each.booked_nanos for each in known),
        )

    @property
    def said(self) -> list[object]:
        """What would be booked, as JSON: all that a preview's name stands for."""
        return [[list(each.group) for each in self.differing], self.estimates, self.shifts]


async def compare_sums(
    tx: Transaction,
    lines: Sequence[StatementLine],
    source: Source,
    options: StatementOptions,
    coverage: Coverage,
) -> SumComparison:
    """Compare the sums of these days with what the upstream's calls and adjustments come to."""
    around = days_around(coverage.days)
    booked = await ledger_calls(tx, *around, (), source.upstream)
    held = await tx.fetch(_HELD, *coverage.days)
    return SumComparison(
        *coverage.days,
        zone=source.zone,
        options=options,
        lines=len(lines),
        sums=tuple(compare_groups(lines, booked, options, coverage.days)),
        pending=sum(row["calls"] for row in held if is_at(row, source.upstream)),
        booked_in=await first_open(tx, coverage.days[1]),
    )
