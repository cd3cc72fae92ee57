"""How the state's records are shown: the same names on the command line and in `/admin/v1`.

Every function gives what JSON can hold. Money is decimal text in dollars, times are ISO 8601
in UTC, shares are numbers from 0 to 1. No credential is in any of it, only hints; an account's
terms may hold the address of its webhook, which `without_secrets` takes out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from gateway.accounts.tables.account_rows import AccountRecord
from gateway.accounts.tables.audit import AuditRow, shown
from gateway.accounts.tables.keys import KeyRecord
from gateway.accounts.tables.tokens import TokenRecord
from gateway.ledger.rules.statement_lines import StatementLine
from gateway.ledger.rules.statement_matching import Finding
from gateway.ledger.tables.close_month import Closing
from gateway.ledger.tables.corrections import Corrected
from gateway.ledger.tables.ledger_rows import LedgerRow, OpenReservation
from gateway.ledger.tables.payers import NOBODY, Payers
from gateway.ledger.tables.reports import Borrowing, Reuse, UsageLine
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.ledger.tables.unresolved_reservations import UnresolvedReservation
from gateway.ledger.tables.verify import Verification
from gateway.model.entry import Entry
from gateway.model.money import usd
from gateway.model.units import time_text

Facts = dict[str, object]


def when(at_ms: int | None) -> str | None:
    """A moment as people read it; None where there is none."""
    return None if at_ms is None else time_text(at_ms)


# --- accounts -------------------------------------------------------------------------


def without_secrets(facts: Mapping[str, object]) -> Facts:
    """An account for whoever does not set its terms: of its webhook the scheme and host alone."""
    return {name: shown(name, value) for name, value in facts.items()}


def team_facts(record: AccountRecord) -> Facts:
    """A team: its terms, and when it began and ended."""
    return {
        "name": record.name,
        **record.facts(),
        "created_at": when(record.created_ms),
        "archived_at": when(record.ended_ms),
    }


def key_facts(key: KeyRecord) -> Facts:
    """A key: whose it is, its terms, and how to recognise its secret."""
    return {
        "id": key.id,
        "team": key.team,
        "name": key.name,
        "secret_hint": key.hint,
        "old_secret_valid_until": when(key.rotated_until_ms),
        **key.account.facts(),
        "created_at": when(key.account.created_ms),
        "revoked_at": when(key.account.ended_ms),
    }


def token_facts(token: TokenRecord) -> Facts:
    """An admin token: its role, and how to recognise its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "secret_hint": token.hint,
        "created_at": when(token.created_ms),
        "revoked_at": when(token.revoked_ms),
    }


def audit_facts(row: AuditRow) -> Facts:
    """A change: who, when, what it was, what it is, and why."""
    return {
        "at": when(row.at_ms),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "old": dict(row.old),
        "new": dict(row.new),
        "reason": row.reason,
    }


# --- money ----------------------------------------------------------------------------


def ledger_facts(row: LedgerRow) -> Facts:
    """A row of the ledger. A correction's cost and images are differences."""
    return {
        "id": row.id,
        "kind": row.kind,
        "corrects": row.corrects,
        "at": when(row.at_ms),
        "day": row.day,
        "request_id": row.request_id,
        "upstream_request_id": row.upstream_request_id,
        "credential": row.credential,
        "team": row.team,
        "key": row.key_id,
        "model": row.model,
        "route": row.route,
        "fingerprint": row.fingerprint,
        "reference_images": row.reference_images,
        "body_bytes": row.body_bytes,
        "answer_bytes": row.answer_bytes,
        "status": row.status,
        "n": row.n,
        "images": row.images,
        "cost_usd": usd(row.cost_nanos),
        "estimated": bool(row.estimated),
        "owner": row.owner,
        "cost_centre": row.cost_centre,
        "tags": json.loads(row.tags),
        "late_for": row.late_for,
    }


def closing_facts(closing: Closing) -> Facts:
    """A closed month: when and by whom, and what was in it, None until that is added up."""
    contents = closing.contents
    return {
        "period": closing.period,
        "from": closing.first_day,
        "to": closing.last_day,
        "timezone": closing.timezone,
        "closed_at": when(closing.closed_ms),
        "closed_by": closing.closed_by,
        "ledger_rows": contents and contents.ledger_rows,
        "spent_usd": contents and usd(contents.spent_nanos),
        "corrections_usd": contents and usd(contents.corrections_nanos),
        "saved_usd": contents and usd(contents.saved_nanos),
        "estimated_calls": closing.estimated_calls,
        "digest": contents and contents.digest,
    }


def usage_facts(line: UsageLine) -> Facts:
    """A line of a usage report."""
    return {
        "group": line.group,
        "calls": line.calls,
        "hits": line.hits,
        "coalesced": line.coalesced,
        "outcomes": {outcome.value: number for outcome, number in sorted(line.outcomes.items())},
        "errors": line.errors,
        "error_share": round(line.error_share, 4),
        "paid_calls": line.paid_calls,
        "spent_usd": usd(line.spent_nanos),
        "estimated_calls": line.estimated_calls,
        "estimated_usd": usd(line.estimated_nanos),
        "estimated_share": round(line.estimated_share, 4),
        "corrections_usd": usd(line.corrections_nanos),
        "saved_usd": usd(line.saved_nanos),
        "saved_usd_by_cause": {
            cause: usd(nanos) for cause, nanos in sorted(line.saved.items())
        },
    }  # fmt: skip


def verification_facts(found: Verification) -> Facts:
    """Whether the books agree; where they don't, each difference in its own unit."""
    return {
        "agrees": not found.differences,
        "differences": [
            {
                "what": each.what,
                "account": each.account,
                "day": each.day,
                "booked": each.booked,
                "proven": each.proven,
            }
            for each in found.differences
        ],
        "spent_usd": usd(found.spent_nanos),
        "held_usd": usd(found.held_nanos),
        "estimated_usd": usd(found.estimated_nanos),
        "estimated_calls": found.estimated_calls,
        "ledger_rows": found.ledger_rows,
        "open_reservations": found.open_reservations,
        "closed_through": found.closed_through,
        "requests_from": found.requests_from,
    }


def comparison_facts(found: Comparison) -> Facts:
    """A statement beside the ledger: what each says, and what lies between them."""
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


def finding_facts(finding: Finding, payers: Payers) -> Facts:
    """A call on which the statement and the ledger don't agree."""
    billed, call = finding.billed, finding.call
    ours = call.request_id if call else billed.client_request_id if billed else ""
    payer = payers.of(billed.line) if billed else NOBODY
    upstream = billed.request_id if billed else ", ".join(call.upstream_ids) if call else ""
    return {
        "what": finding.what,
        "at": when(billed.line.at_ms if billed else call.at_ms if call else None),
        "request_id": ours,
        "upstream_request_id": upstream,
        "team": call.team if call else payer.team,
        "key": call.key_id if call else payer.key_id,
        "model": call.model if call else billed.line.model if billed else "",
        "booked_usd": usd(finding.before_nanos) if call else None,
        "billed_usd": usd(finding.after_nanos) if billed else None,
        "difference_usd": usd(finding.after_nanos - finding.before_nanos),
    }


def adjustment_facts(line: StatementLine, payers: Payers) -> Facts:
    """A line of a statement that is no call, or a credit without its charge."""
    payer = payers.of(line)
    return {
        "what": "adjustment",
        "at": when(line.at_ms),
        "request_id": line.client_request_id,
        "upstream_request_id": line.request_id,
        "team": payer.team,
        "key": payer.key_id,
        "model": line.model,
        "booked_usd": None,
        "billed_usd": usd(line.cost_nanos),
        "difference_usd": usd(line.cost_nanos),
    }


def held_facts(held: OpenReservation) -> Facts:
    """Money held for a call that has not been settled or voided."""
    return {
        "id": held.id,
        "made_at": when(held.made_ms),
        "day": held.day,
        "request_id": held.request_id,
        "team": held.team,
        "key": held.key_id,
        "model": held.model,
        "held_usd": usd(held.ceiling_nanos),
        "images": held.images,
    }


def unresolved_facts(unresolved: UnresolvedReservation, *, abandoned: bool) -> Facts:
    """An open reservation, and whether its process is gone so that it can be resolved."""
    return {
        **held_facts(unresolved.held),
        "heartbeat_at": when(unresolved.heartbeat_ms),
        "abandoned": abandoned,
    }


def resolved_facts(resolved: Sequence[OpenReservation]) -> Facts:
    """What was settled at its ceiling because nobody else will settle it."""
    return {
        "resolved": len(resolved),
        "booked_usd": usd(sum(held.ceiling_nanos for held in resolved)),
        "reservations": [held_facts(held) for held in resolved],
    }


def corrected_facts(corrected: Corrected) -> Facts:
    """What a request's calls cost in all, before and after its correction."""
    return {
        "request_id": corrected.request_id,
        "before_usd": usd(corrected.before_nanos),
        "cost_usd": usd(corrected.after_nanos),
        "corrections": corrected.corrections,
        "held_usd": usd(corrected.held_nanos),
        "booked_in": corrected.booked_in or None,
    }


# --- results --------------------------------------------------------------------------


def entry_facts(entry: Entry) -> Facts:
    """A stored result: whose it is and what it is of, nothing of what is on it."""
    return {
        "fingerprint": entry.key,
        "team": entry.team,
        "key": entry.key_id,
        "model": entry.model,
        "created_at": when(entry.created_ms),
        "expires_at": when(entry.expires_ms),
        "bytes": entry.body_bytes,
        "cost_usd": None if entry.cost_nanos is None else usd(entry.cost_nanos),
        "reference_images": len(entry.references),
        "request_id": entry.request_id,
    }


def reuse_facts(reuse: Reuse) -> Facts:
    """How often a result was had for nothing, and what that saved."""
    return {
        "fingerprint": reuse.fingerprint,
        "model": reuse.model,
        "uses": reuse.uses,
        "saved_usd": usd(reuse.saved_nanos),
    }


def borrowing_facts(borrowing: Borrowing) -> dict[str, object]:
    """What a team used that another had paid for."""
    return {
        "team": borrowing.team,
        "paid_by_team": borrowing.paid_by_team,
        "uses": borrowing.uses,
        "saved_usd": usd(borrowing.saved_nanos),
    }
