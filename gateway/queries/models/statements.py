"""An upstream's statement compared with the ledger: rows for the command line and for JSON."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from gateway.ledger.rules.payer import NOBODY
from gateway.ledger.rules.statement_fees import FeeChange
from gateway.ledger.rules.statement_formats import Granularity
from gateway.ledger.rules.statement_matching import Finding, LedgerCall
from gateway.ledger.rules.statement_sums import ComparedSum
from gateway.ledger.statements.previews import Preview
from gateway.ledger.statements.reading import FirstLine
from gateway.ledger.tables.payers import Payers
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.ledger.tables.sum_comparison import SumComparison
from gateway.queries.models.read_model import (
    Count,
    Day,
    Json,
    Moment,
    Money,
    ReadModel,
    optional,
    read,
    time_or_none,
)

_NO_PAYERS = Payers({})


class FirstLineView(ReadModel):
    """One of the first lines, as it is written and as it was read."""

    line: Count
    time: str
    read_as: Moment
    cost: str
    currency: str
    cost_usd: Money
    id: str
    model: str

    @classmethod
    def of_line(cls, first: FirstLine) -> FirstLineView:
        line = first.line
        return cls.of(
            {
                "line": line.number,
                "time": first.time,
                "read_as": line.at_ms,
                "cost": first.cost,
                "currency": line.currency,
                "cost_usd": line.cost_nanos,
                "id": line.request_id or line.client_request_id or line.line_id,
                "model": line.model or line.line_item,
            }
        )


class TeamDifferenceView(ReadModel):
    """What would be booked to a team."""

    team: str
    difference_usd: Money


class BudgetEffectView(ReadModel):
    """A budget with another amount spent in its current window."""

    account: str
    budget_usd: Money = read("budget_nanos")
    spent_usd: Money = read("before_nanos")
    spent_after_usd: Money = read("after_nanos")
    reopened: bool


class ObjectionView(ReadModel):
    """Why it is not booked; where a percentage is given, `allow_change` may allow it."""

    reason: str = read("text")
    allow_change: Count | None = read("percent")


class DifferenceRowView(ReadModel):
    """What would be booked; `gone` is listed, and left as it is."""

    what: Literal[
        "missing", "extra", "differing", "confirmed", "adjustment", "gone", "share",
        "confirmed_by_sum",
    ]  # fmt: skip
    at: Annotated[str | None, Field(description="A time, or for sums a day or a month.")]
    request_id: str
    upstream_request_id: str
    team: str
    key: str
    model: str
    booked_usd: Money | None
    billed_usd: Money | None
    difference_usd: Money


class PreviewView(ReadModel):
    """What reconciling a statement would change, and what it is refused for.

    Counts of calls are there for statements of calls, those of sums for statements of sums.
    """

    object: Literal["preview"] = "preview"
    preview: Annotated[str, Field(description="Confirm it by this name.")]
    upstream: str
    period: str | None
    from_day: Day = read(name="from")
    to_day: Day = read(name="to")
    booked_in: Annotated[
        Day | None, Field(description="The first open day, where the days are closed.")
    ]
    changes: Annotated[Count, Field(description="The number of rows to book.")]
    granularity: Granularity
    by_model: bool | None = optional()
    lines: Count
    agreed: Count
    missing: Count | None = optional()
    extra: Count | None = optional()
    extra_after_its_last_line: Count | None = optional()
    differing: Count
    confirmed: Count | None = optional()
    confirmed_by_sum: Count | None = optional()
    adjustments: Count | None = optional()
    gone: Count | None = optional()
    not_settled: Count
    near_its_ends: Count | None = optional()
    statement_usd: Money
    of_other_days_usd: Money | None = optional()
    not_settled_usd: Money | None = optional()
    near_its_ends_usd: Money | None = optional()
    gone_usd: Money | None = optional()
    ledger_usd: Money
    difference_usd: Money
    left_out: Annotated[Count, Field(description="Lines that the filters leave out.")]
    first_lines: list[FirstLineView]
    teams: list[TeamDifferenceView]
    budgets: list[BudgetEffectView]
    refused: list[ObjectionView]
    reconciled: Annotated[
        dict[str, str], Field(description="The month's batches, by reconciled upstream.")
    ]

    @classmethod
    def of_preview(cls, shown: Preview) -> PreviewView:
        return cls.of(preview_facts(shown))


class ReconciliationView(PreviewView):
    """A statement beside the ledger, and the batch that was booked of it.

    `after` is how both stand then.
    """

    object: Literal["reconciliation"] = "reconciliation"  # type: ignore[assignment]
    applied: bool
    batch: str | None
    rows: list[DifferenceRowView]
    more_rows: Annotated[Count, Field(description="How many rows are left out; CSV has them all.")]
    after: PreviewView


def preview_facts(shown: Preview) -> Json:
    """The fields of a preview."""
    found = shown.comparison
    return {
        "preview": shown.id,
        "upstream": shown.inquiry.source.upstream,
        "period": shown.coverage.period or None,
        "from_day": found.first_day,
        "to_day": found.last_day,
        "booked_in": found.booked_in,
        "changes": found.changes,
        **(_sum_facts(found) if isinstance(found, SumComparison) else _call_facts(found)),
        "ledger_usd": found.booked_nanos,
        "difference_usd": found.off_nanos,
        "left_out": shown.inquiry.statement.left_out,
        "first_lines": [FirstLineView.of_line(each) for each in shown.inquiry.statement.first],
        "teams": [
            TeamDifferenceView.of({"team": team, "difference_usd": nanos})
            for team, nanos in shown.teams.items()
        ],
        "budgets": [BudgetEffectView.of(each) for each in shown.budgets],
        "refused": [ObjectionView.of(each) for each in shown.refused],
        "reconciled": shown.reconciled,
    }


def _sum_facts(found: SumComparison) -> Json:
    return {
        "granularity": found.options.granularity,
        "by_model": found.by_model,
        "lines": found.lines,
        "agreed": len(found.sums) - len(found.differing),
        "differing": len(found.differing),
        "confirmed_by_sum": len(found.estimates),
        "not_settled": found.pending,
        "statement_usd": found.billed_nanos,
    }


def _call_facts(found: Comparison) -> Json:
    counts = Counter(each.what for each in found.matching.findings)
    return {
        "granularity": "call",
        "lines": found.statement.lines,
        "agreed": len(found.matching.agreed),
        "missing": counts["missing"],
        "extra": counts["extra"],
        "extra_after_its_last_line": found.after_its_end,
        "differing": counts["differing"],
        "confirmed": counts["confirmed"],
        "adjustments": len(found.fees.changes),
        "gone": len(found.fees.gone),
        "not_settled": len(found.pending),
        "near_its_ends": len(found.matching.undecided),
        "statement_usd": found.statement.total_nanos,
        "of_other_days_usd": found.elsewhere_nanos,
        "not_settled_usd": found.pending_nanos,
        "near_its_ends_usd": found.undecided_nanos,
        "gone_usd": found.gone_nanos,
    }


def difference_rows(shown: Preview) -> list[DifferenceRowView]:
    """What would be booked, and what is listed without being booked: `gone`."""
    found = shown.comparison
    if isinstance(found, SumComparison):
        rows = [row for each in found.sums for row in _sum_rows(each)]
    else:
        rows = [_finding_row(each, found.payers) for each in found.matching.findings]
        rows += [_adjustment_row(fee, found.payers) for fee in found.fees.changes]
        rows += [_gone_row(fee) for fee in found.fees.gone]
    return [DifferenceRowView.of(row) for row in rows]


def _finding_row(finding: Finding, payers: Payers) -> Json:
    """A call that the statement and the ledger disagree on."""
    billed, call = finding.billed, finding.call
    ours = call.request_id if call else billed.client_request_id if billed else ""
    payer = payers.of(billed.line) if billed else NOBODY
    upstream = billed.request_id if billed else ", ".join(call.upstream_ids) if call else ""
    return {
        "what": finding.what,
        "at": time_or_none(billed.line.at_ms if billed else call.at_ms if call else None),
        "request_id": ours,
        "upstream_request_id": upstream,
        "team": call.team if call else payer.team,
        "key": call.key_id if call else payer.key_id,
        "model": call.model if call else billed.line.model if billed else "",
        "booked_usd": finding.before_nanos if call else None,
        "billed_usd": finding.after_nanos if billed else None,
        "difference_usd": finding.after_nanos - finding.before_nanos,
    }


def _adjustment_row(fee: FeeChange, payers: Payers) -> Json:
    """A line of a statement that is no call, such as a credit note."""
    line, payer = fee.line, payers.of(fee.line)
    return {
        "what": "adjustment",
        "at": time_or_none(line.at_ms),
        "request_id": line.client_request_id,
        "upstream_request_id": line.request_id or line.line_id,
        "team": payer.team,
        "key": payer.key_id,
        "model": line.model,
        "booked_usd": fee.before_nanos if fee.number else None,
        "billed_usd": line.cost_nanos,
        "difference_usd": fee.nanos,
    }


def _gone_row(fee: LedgerCall) -> Json:
    """An adjustment that the statement does not have. It is left as it is."""
    return {
        "what": "gone",
        "at": time_or_none(fee.at_ms),
        "request_id": fee.request_id,
        "upstream_request_id": ", ".join(fee.upstream_ids),
        "team": fee.team,
        "key": fee.key_id,
        "model": fee.model,
        "booked_usd": fee.cost_nanos,
        "billed_usd": None,
        "difference_usd": 0,
    }


def _sum_rows(compared: ComparedSum) -> list[Json]:
    """A sum that differs, by payer; and the estimates that a sum settles."""
    facts: Json = {"at": compared.group.period, "request_id": "", "upstream_request_id": ""}
    shares = [
        {
            "what": "share",
            **facts,
            "team": payer.team,
            "key": payer.key_id,
            "model": compared.group.model or payer.model,
            "booked_usd": None,
            "billed_usd": None,
            "difference_usd": nanos,
        }
        for payer, nanos in compared.shares
    ]
    whole = {
        "what": "differing",
        **facts,
        "team": "",
        "key": "",
        "model": compared.group.model,
        "booked_usd": compared.booked_nanos,
        "billed_usd": compared.billed_nanos,
        "difference_usd": compared.nanos,
    }
    estimates = [
        _finding_row(Finding("confirmed", None, call), _NO_PAYERS)
        | {"what": "confirmed_by_sum", "difference_usd": 0}
        for call in compared.estimates
    ]
    return [*([whole] if compared.nanos else []), *shares, *estimates]
