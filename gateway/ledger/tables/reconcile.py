"""Reconciliation of the ledger with a statement: adds rows until both agree.

An added row has an id made from its content, or corrects a call to its billed cost. A
reconciliation that is interrupted and repeated therefore adds nothing twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Transaction
from gateway.ledger.rules.statement_lines import BilledCall, StatementLine
from gateway.ledger.rules.statement_matching import BilledPeriod, Finding, match
from gateway.ledger.tables.booking import book_corrections, book_statement_rows, paid_images
from gateway.ledger.tables.closed_days import lock_closings, open_day
from gateway.ledger.tables.corrections import booked_call
from gateway.ledger.tables.ledger_calls import calls_named, held_requests
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.ledger.tables.payers import Payer, payers
from gateway.ledger.tables.statement_comparison import Source, id_of
from gateway.model.money import usd
from gateway.model.windows import day_of


async def correct_calls(
    tx: Transaction, findings: Sequence[Finding], source: Source, by: Author
) -> int:
    """Correct these calls to their billed cost. Returns the number of corrections."""
    through = await lock_closings(tx)
    corrections = []
    for finding in sorted(findings, key=lambda each: each.call.id if each.call else ""):
        if finding.call is None:
            continue
        booked = await booked_call(tx, finding.call.id)
        if booked.cost_nanos == finding.after_nanos and not booked.estimate:
            continue
        status = finding.billed.line.status if finding.billed else None
        status = booked.call.status if status is None else status
        correction = booked.next(finding.after_nanos, status, by.now_ms, through)
        if finding.billed and not booked.call.upstream_request_id:
            named = replace(correction.row, upstream_request_id=finding.billed.request_id)
            correction = replace(correction, row=named)
        corrections.append(correction)
    booked_count = await book_corrections(tx, corrections)
    if booked_count:
        nanos = sum(each.row.cost_nanos for each in corrections)
        await _audit(tx, by, source, {"corrections": booked_count, "cost_usd": usd(nanos)})
    return booked_count


async def add_missing(
    tx: Transaction,
    billed: Sequence[BilledCall],
    known_ids: Collection[str],
    source: Source,
    by: Author,
) -> int:
    """Book billed calls that the ledger lacks. Returns the number of new rows.

    `known_ids` are the calls that the lines were compared with. A line is not booked if its call
    may be one that is in flight, or was settled since the comparison.
    """
    through = await lock_closings(tx)
    billed = await _still_missing(tx, billed, known_ids, source)
    known = await payers(tx, [each.line for each in billed])
    rows = [_call(each, known.of(each.line), source, through) for each in billed]
    return await _book(tx, rows, "missing", source, by)


async def _still_missing(
    tx: Transaction, billed: Sequence[BilledCall], known_ids: Collection[str], source: Source
) -> list[BilledCall]:
    """Reads reservations first: a call moves from there to the ledger."""
    held = await held_requests(tx, [each.client_request_id for each in billed])
    named = await calls_named(tx, billed, source.other_upstreams)
    new = [call for call in named if call.id not in known_ids]
    missing = match(billed, new, BilledPeriod(0, 0)).missing
    return [line for line in missing if line.client_request_id not in held]


async def add_adjustments(
    tx: Transaction, lines: Mapping[str, StatementLine], source: Source, by: Author
) -> int:
    """Book lines without a call, by their ids. Returns the number of new rows."""
    through = await lock_closings(tx)
    known = await payers(tx, lines.values())
    rows = []
    for name, line in lines.items():
        row = _call(BilledCall(line, line.cost_nanos), known.of(line), source, through)
        rows.append(replace(row, id=name, kind="adjustment", n=0, images=0))
    return await _book(tx, rows, "adjustments", source, by)


def _call(billed: BilledCall, payer: Payer, source: Source, through: str | None) -> LedgerRow:
    line = billed.line
    about = day_of(line.at_ms, source.zone)
    day = open_day(about, through)
    names = ("upstream", line.request_id) if line.request_id else ("ours", line.client_request_id)
    return LedgerRow(
        id=id_of("bill", source.upstream, *names),
        kind="call",
        at_ms=line.at_ms,
        day=day,
        request_id=line.client_request_id,
        upstream_request_id=line.request_id,
        credential=line.credential,
        team=payer.team,
        key_id=payer.key_id,
        model=line.model or payer.model,
        upstream=source.upstream,
        route=line.route,
        status=line.status,
        n=line.n,
        images=0 if day != about else paid_images(billed.cost_nanos, line.status, line.n),
        cost_nanos=billed.cost_nanos,
        owner=payer.owner,
        cost_centre=payer.cost_centre,
        tags=payer.tags,
        late_for=None if day == about else about,
    )


async def _book(
    tx: Transaction, rows: Sequence[LedgerRow], what: str, source: Source, by: Author
) -> int:
    new = await book_statement_rows(tx, rows)
    if new:
        nanos = sum(row.cost_nanos for row in new)
        await _audit(tx, by, source, {what: len(new), "cost_usd": usd(nanos)})
    return len(new)


async def _audit(tx: Transaction, by: Author, source: Source, facts: dict[str, object]) -> None:
    await append(tx, by, "ledger.reconcile", f"statement:{source.digest[:16]}", {}, facts)
