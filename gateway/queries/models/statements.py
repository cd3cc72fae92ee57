"""An upstream's statement compared with the ledger: rows for the command line."""

from __future__ import annotations

from collections import Counter

from gateway.ledger.rules.statement_lines import StatementLine
from gateway.ledger.rules.statement_matching import Finding
from gateway.ledger.tables.payers import NOBODY, Payers
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.model.money import usd
from gateway.queries.models.read_model import Json, time_or_none


def comparison_row(found: Comparison) -> Json:
    """The sums of a statement, of the ledger, and of their differences."""
    counts = Counter(each.what for each in found.matching.findings)
    return {
        "from": found.first_day,
        "to": found.last_day,
        "booked_in": found.booked_in,
        "lines": found.statement.lines,
        "agreed": len(found.matching.agreed),
        "missing": counts["missing"],
        "extra": counts["extra"],
        "extra_after_its_last_line": found.after_its_end,
        "differing": counts["differing"],
        "confirmed": counts["confirmed"],
        "adjustments": len(found.adjustments),
        "not_settled": len(found.pending),
        "near_its_ends": len(found.matching.undecided),
        "statement_usd": usd(found.statement.total_nanos),
        "of_other_days_usd": usd(found.elsewhere_nanos),
        "not_settled_usd": usd(found.pending_nanos),
        "near_its_ends_usd": usd(found.undecided_nanos),
        "ledger_usd": usd(found.booked_nanos),
        "difference_usd": usd(found.off_nanos),
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


def adjustment_row(line: StatementLine, payers: Payers) -> Json:
    """A line of a statement that is no call, such as a credit note."""
    payer = payers.of(line)
    return {
        "what": "adjustment",
        "at": time_or_none(line.at_ms),
        "request_id": line.client_request_id,
        "upstream_request_id": line.request_id,
        "team": payer.team,
        "key": payer.key_id,
        "model": line.model,
        "booked_usd": None,
        "billed_usd": usd(line.cost_nanos),
        "difference_usd": usd(line.cost_nanos),
    }
