"""Previews of a reconciliation: what it would change. Nothing is booked without one.

A preview's id follows from its outcome. To confirm it, the outcome is reckoned again: it has the
same id only if the same rows would be booked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from gateway.database.database import Database, Transaction
from gateway.ledger.rules.payer import Shift
from gateway.ledger.rules.statement_limits import Objection, objections
from gateway.ledger.rules.statement_lines import Duplicates, StatementOptions, sum_up
from gateway.ledger.rules.statement_period import Coverage, coverage
from gateway.ledger.statements.reading import Statement
from gateway.ledger.tables.batches import latest_of, reconciled
from gateway.ledger.tables.budget_effects import BudgetEffect, budget_effects
from gateway.ledger.tables.statement_comparison import Comparison, Source, compare
from gateway.ledger.tables.sum_comparison import SumComparison, compare_sums
from gateway.model.windows import day_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A statement and how it is to be compared. `period` is a month, or None."""

    statement: Statement
    options: StatementOptions
    source: Source
    period: str | None = None
    edge_ms: int = 0
    duplicates: Duplicates = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What reconciling would change, and what it is refused for.

    `teams` are the amounts to book by team; `reconciled` the batches of this month by upstream.
    """

    id: str
    inquiry: Inquiry
    coverage: Coverage
    comparison: Comparison | SumComparison
    refused: tuple[Objection, ...]
    teams: Mapping[str, int]
    budgets: tuple[BudgetEffect, ...]
    reconciled: Mapping[str, str]


async def preview(database: Database, inquiry: Inquiry, now_ms: int) -> Preview:
    """Compare the ledger with a statement. Raises NotCovered and RepeatedLines."""
    statement, options, source = inquiry.statement, inquiry.options, inquiry.source
    covered = coverage(
        statement.lines, inquiry.period, options, source.zone, now_ms=now_ms,
        edge_ms=inquiry.edge_ms,
    )  # fmt: skip
    totals = None if options.aggregated else sum_up(statement.lines, inquiry.duplicates)

    async def reckon(tx: Transaction) -> Preview:
        found: Comparison | SumComparison
        if totals is None:
            found = await compare_sums(tx, statement.lines, source, options, covered)
        else:
            found = await compare(tx, totals, source, covered)
        today = day_of(now_ms, source.zone)
        return Preview(
            id=_id(inquiry, covered, found, await latest_of(tx, source.upstream)),
            inquiry=inquiry,
            coverage=covered,
            comparison=found,
            refused=(*_refused_forms(inquiry, found), *objections(found.size)),
            teams=_by_team(found.shifts),
            budgets=tuple(await budget_effects(tx, found.shifts, today, source.zone)),
            reconciled=await reconciled(tx, covered.period),
        )

    return await database.read(reckon)


def _id(inquiry: Inquiry, covered: Coverage, found: Comparison | SumComparison, latest: str) -> str:
    """`latest` is the last batch of the upstream: the same outcome after an undo is another."""
    source, rates = inquiry.source, inquiry.options.rates
    said = [
        source.upstream,
        source.digest,
        covered.days,
        covered.period,
        {name: str(rate) for name, rate in sorted(rates.items())},
        found.booked_in,
        latest,
        found.said,
    ]
    return f"prv_{sha256(json.dumps(said).encode()).hexdigest()[:20]}"


def _refused_forms(inquiry: Inquiry, found: Comparison | SumComparison) -> list[Objection]:
    if isinstance(found, SumComparison):
        unsettled = Objection(
            f"{found.pending} calls of these days are not settled yet, and the sums may hold them: "
            "see `gateway ledger resolve`"
        )
        return [unsettled] if found.pending else []
    if not any(line.names_call for line in inquiry.statement.lines):
        column = inquiry.options.columns.request_id
        return [
            Objection(
                f"no line has the id of a call, for which the column {column!r} was read. Name the "
                "column by --column request_id=NAME; a statement of sums takes --aggregated"
            )
        ]
    return []


def _by_team(shifts: Iterable[Shift]) -> Mapping[str, int]:
    teams: Counter[str] = Counter()
    for shift in shifts:
        teams[shift.team] += shift.nanos
    return {team: nanos for team, nanos in sorted(teams.items()) if nanos}
