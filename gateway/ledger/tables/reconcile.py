"""Reconciliation of the ledger with a statement: adds rows until both agree.

An added row has an id made from its content, or corrects a call to its billed cost. A
reconciliation that is interrupted and repeated therefore adds nothing twice. All rows of one are a
batch; those of a closed month count in the budgets of their own day.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import astuple, replace

from gateway.accounts.tables.audit import append
from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named
from gateway.ledger.rules.payer import Payer
from gateway.ledger.rules.statement_fees import FeeChange, fee_type, id_of
from gateway.ledger.rules.statement_lines import BilledCall, StatementLine, StatementOptions
from gateway.ledger.rules.statement_matching import BilledPeriod, Finding, match
from gateway.ledger.rules.statement_sums import ComparedSum, booked_at
from gateway.ledger.tables.batches import Batch, insert_batch
from gateway.ledger.tables.booking import (
    book_corrections,
    book_statement_rows,
    of_own_budget,
    paid_images,
)
from gateway.ledger.tables.closed_days import lock_closings, open_day
from gateway.ledger.tables.corrections import booked_call
from gateway.ledger.tables.ledger_calls import calls_named, held_requests
from gateway.ledger.tables.ledger_rows import LEDGER_COLUMNS, LedgerRow
from gateway.ledger.tables.payers import payers
from gateway.ledger.tables.statement_comparison import Source
from gateway.model.money import usd
from gateway.model.windows import day_of

BY_SUM = "sum"
"""The type of an adjustment to a statement of sums."""
_ROWS = f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger WHERE id IN {{names}}"
_PAYER = ("team", "key_id", "owner", "cost_centre", "tags")


async def correct_calls(
    tx: Transaction, findings: Sequence[Finding], source: Source, batch: Batch
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
        correction = booked.next(finding.after_nanos, status, batch.by.now_ms, through, batch.id)
        row = of_own_budget(correction.row)
        if finding.billed and not booked.call.upstream_request_id:
            row = replace(row, upstream_request_id=finding.billed.request_id)
        corrections.append(replace(correction, row=row))
    count = await book_corrections(tx, corrections)
    nanos = sum(each.row.cost_nanos for each in corrections)
    return await _audited(tx, source, batch, {"corrections": count, "cost_usd": usd(nanos)}, count)


async def add_missing(
    tx: Transaction,
    billed: Sequence[BilledCall],
    known_ids: Collection[str],
    source: Source,
    batch: Batch,
) -> int:
    """Book billed calls that the ledger lacks. Returns the number of new rows.

    `known_ids` are the calls that the lines were compared with. A line is not booked if its call
    may be one that is in flight, or was settled since the comparison.
    """
    through = await lock_closings(tx)
    billed = await _still_missing(tx, billed, known_ids, source)
    known = await payers(tx, [each.line for each in billed])
    rows = [_call(each, known.of(each.line), source, through) for each in billed]
    return await _book(tx, rows, "missing", source, batch)


async def _still_missing(
    tx: Transaction, billed: Sequence[BilledCall], known_ids: Collection[str], source: Source
) -> list[BilledCall]:
    """Reads reservations first: a call moves from there to the ledger."""
    held = await held_requests(tx, [each.client_request_id for each in billed])
    named = await calls_named(tx, billed, source.upstream)
    new = [call for call in named if call.kind == "call" and call.id not in known_ids]
    missing = match(billed, new, BilledPeriod(0, 0)).missing
    return [line for line in missing if line.client_request_id not in held]


async def add_fees(
    tx: Transaction, changes: Sequence[FeeChange], source: Source, batch: Batch
) -> int:
    """Book lines without a call. Returns the number of new rows."""
    through = await lock_closings(tx)
    known = await payers(tx, [change.line for change in changes])
    there = await fetch_named(tx, _ROWS, [change.id for change in changes if change.number])
    roots = {row["id"]: LedgerRow(**row) for row in there}
    rows = []
    for change in changes:
        line = replace(
            change.line,
            request_id=change.line.request_id or change.line.line_id,
            route=fee_type(change.line),
        )
        row = _call(BilledCall(line, change.nanos), known.of(line), source, through)
        row = replace(row, id=change.id, kind="adjustment", n=0, images=0)
        if root := roots.get(change.id):
            whose = {name: getattr(root, name) for name in _PAYER}
            row = replace(row, id=f"{root.id}~{change.number}", corrects=root.id, **whose)
        rows.append(row)
    return await _book(tx, rows, "adjustments", source, batch)


async def add_shares(
    tx: Transaction,
    sums: Sequence[ComparedSum],
    options: StatementOptions,
    source: Source,
    batch: Batch,
) -> int:
    """Book the shares of these differences. Returns the number of new rows."""
    through = await lock_closings(tx)
    rows = []
    for each in sums:
        at_ms = booked_at(each.group, options)
        for payer, nanos in each.shares:
            line = StatementLine(0, "", "", at_ms, nanos, each.group.model, route=BY_SUM)
            row = _call(BilledCall(line, nanos), payer, source, through)
            name = id_of("sum", batch.id, *each.group, *astuple(payer))
            rows.append(replace(row, id=name, kind="adjustment", n=0, images=0))
    return await _book(tx, rows, "adjustments", source, batch)


async def confirm_estimates(
    tx: Transaction, call_ids: Sequence[str], source: Source, batch: Batch
) -> int:
    """Settle estimates that a sum covers. Returns the number of those that were still estimates."""
    through = await lock_closings(tx)
    corrections = []
    for call_id in sorted(call_ids):
        booked = await booked_call(tx, call_id)
        if booked.estimate:
            status, now_ms = booked.call.status, batch.by.now_ms
            found = booked.next(booked.cost_nanos, status, now_ms, through, batch.id)
            row = replace(of_own_budget(found.row), cost_kind="confirmed_by_sum")
            corrections.append(replace(found, row=row))
    count = await book_corrections(tx, corrections)
    return await _audited(tx, source, batch, {"confirmed_by_sum": count, "cost_usd": "0"}, count)


async def record_agreement(tx: Transaction, source: Source, batch: Batch) -> None:
    """Keep that a statement was reconciled that changes nothing."""
    await _audited(tx, source, batch, {"changes": 0}, 1)


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
        end_user=payer.end_user,
        late_for=None if day == about else about,
    )


async def _book(
    tx: Transaction, rows: Sequence[LedgerRow], what: str, source: Source, batch: Batch
) -> int:
    marked = [replace(of_own_budget(row), batch=batch.id) for row in rows]
    new = await book_statement_rows(tx, marked)
    nanos = sum(row.cost_nanos for row in new)
    return await _audited(tx, source, batch, {what: len(new), "cost_usd": usd(nanos)}, len(new))


async def _audited(
    tx: Transaction, source: Source, batch: Batch, facts: dict[str, object], count: int
) -> int:
    """Add the batch and an entry of the audit if anything was booked. Returns `count`."""
    if count:
        await insert_batch(tx, batch)
        facts = {"batch": batch.id, **facts}
        subject = f"statement:{source.digest[:16]}"
        await append(tx, batch.by, "ledger.reconcile", subject, {}, facts)
    return count
