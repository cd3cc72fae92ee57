"""An upstream's statement compared with the ledger: rows for the command line and for JSON."""

from __future__ import annotations

from collections import Counter

from gateway.ledger.rules.payer import NOBODY
from gateway.ledger.rules.statement_fees import FeeChange
from gateway.ledger.rules.statement_matching import Finding, LedgerCall
from gateway.ledger.rules.statement_sums import ComparedSum
from gateway.ledger.statements.previews import Preview
from gateway.ledger.statements.reading import FirstLine
from gateway.ledger.tables.payers import Payers
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.ledger.tables.sum_comparison import SumComparison
from gateway.model.money import usd
from gateway.queries.models.read_model import Json, time_or_none


def preview_row(shown: Preview) -> Json:
    """A preview: its sums, and what it would change for whom."""
    return {
        "preview": shown.id,
        "upstream": shown.inquiry.source.upstream,
        "period": shown.coverage.period or None,
        **comparison_row(shown.comparison),
        "left_out": shown.inquiry.statement.left_out,
        "first_lines": [first_line_row(each) for each in shown.inquiry.statement.first],
        "teams": [
            {"team": team, "difference_usd": usd(nanos)} for team, nanos in shown.teams.items()
        ],
        "budgets": [
            {
                "account": each.account,
                "budget_usd": usd(each.budget_nanos),
                "spent_usd": usd(each.before_nanos),
                "spent_after_usd": usd(each.after_nanos),
                "reopened": each.reopened,
            }
            for each in shown.budgets
        ],
        "refused": [{"reason": each.text, "allow_change": each.percent} for each in shown.refused],
        "reconciled": dict(shown.reconciled),
    }


def first_line_row(first: FirstLine) -> Json:
    """One of the first lines, as it is written and as it was read."""
    line = first.line
    return {
        "line": line.number,
        "time": first.time,
        "read_as": time_or_none(line.at_ms),
        "cost": first.cost,
        "currency": line.currency,
        "cost_usd": usd(line.cost_nanos),
        "id": line.request_id or line.client_request_id or line.line_id,
        "model": line.model or line.line_item,
    }


def comparison_row(found: Comparison | SumComparison) -> Json:
    """The sums of a statement, of the ledger, and of their differences."""
    facts = {
        "from": found.first_day,
        "to": found.last_day,
        "booked_in": found.booked_in,
        "changes": found.changes,
    }
    more = _sum_facts(found) if isinstance(found, SumComparison) else _call_facts(found)
    return {
        **facts,
        **more,
        "ledger_usd": usd(found.booked_nanos),
        "difference_usd": usd(found.off_nanos),
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
        "statement_usd": usd(found.billed_nanos),
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
        "statement_usd": usd(found.statement.total_nanos),
        "of_other_days_usd": usd(found.elsewhere_nanos),
        "not_settled_usd": usd(found.pending_nanos),
        "near_its_ends_usd": usd(found.undecided_nanos),
        "gone_usd": usd(found.gone_nanos),
    }


def finding_row(finding: Finding, payers: Payers) -> Json:
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
        "booked_usd": usd(finding.before_nanos) if call else None,
        "billed_usd": usd(finding.after_nanos) if billed else None,
        "difference_usd": usd(finding.after_nanos - finding.before_nanos),
    }


def adjustment_row(fee: FeeChange, payers: Payers) -> Json:
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
        "booked_usd": usd(fee.before_nanos) if fee.number else None,
        "billed_usd": usd(line.cost_nanos),
        "difference_usd": usd(fee.nanos),
    }


def gone_row(fee: LedgerCall) -> Json:
    """An adjustment that the statement does not have. It is left as it is."""
    return {
        "what": "gone",
        "at": time_or_none(fee.at_ms),
        "request_id": fee.request_id,
        "upstream_request_id": ", ".join(fee.upstream_ids),
        "team": fee.team,
        "key": fee.key_id,
        "model": fee.model,
        "booked_usd": usd(fee.cost_nanos),
        "billed_usd": None,
        "difference_usd": "0",
    }


def sum_rows(compared: ComparedSum) -> list[Json]:
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
            "difference_usd": usd(nanos),
        }
        for payer, nanos in compared.shares
    ]
    whole = {
        "what": "differing",
        **facts,
        "team": "",
        "key": "",
        "model": compared.group.model,
        "booked_usd": usd(compared.booked_nanos),
        "billed_usd": usd(compared.billed_nanos),
        "difference_usd": usd(compared.nanos),
    }
    estimates = [
        finding_row(Finding("confirmed", None, call), _NO_PAYERS)
        | {"what": "confirmed_by_sum", "difference_usd": "0"}
        for call in compared.estimates
    ]
    return [*([whole] if compared.nanos else []), *shares, *estimates]


_NO_PAYERS = Payers({})
