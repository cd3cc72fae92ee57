"""Books what a confirmed preview says, in parts: edits and their money go on meanwhile."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database, Operation
from gateway.ledger.rules.statement_limits import allowed
from gateway.ledger.statements.previews import Inquiry, Preview, preview
from gateway.ledger.tables import reconcile
from gateway.ledger.tables.batches import Batch
from gateway.ledger.tables.statement_comparison import Comparison
from gateway.ledger.tables.sum_comparison import SumComparison
from gateway.model.money import usd

Item = TypeVar("Item")
PART = 100


class NotConfirmed(Exception):
    """The statement is not booked; the message says why. Nothing was booked."""


async def confirm(
    database: Database,
    inquiry: Inquiry,
    preview_id: str,
    by: Author,
    *,
    allow_percent: int | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Preview, Batch]:
    """Reckon again, and book if the outcome is that of the preview. Raises NotConfirmed.

    After an interruption a new preview shows what is left.
    """
    found = await preview(database, inquiry, by.now_ms)
    if found.id != preview_id:
        raise NotConfirmed(
            f"its outcome is not that of {preview_id}: the statement, an option or the ledger is "
            f"another by now. Look at the new preview, {found.id}, and confirm that"
        )
    if left := allowed(found.refused, allow_percent):
        raise NotConfirmed("; ".join(map(str, left)))
    batch, done = batch_of(found, by), 0
    for count, operation in _parts_of(found, batch):
        await database.write(operation)
        done += count
        on_progress(done, found.comparison.changes)
    return found, batch


def batch_of(found: Preview, by: Author) -> Batch:
    """The batch of a preview has an id that follows from the preview's: it is booked once."""
    inquiry, comparison = found.inquiry, found.comparison
    facts = {
        "from": comparison.first_day,
        "to": comparison.last_day,
        "granularity": inquiry.options.granularity,
        "lines": len(inquiry.statement.lines),
        "statement_usd": usd(inquiry.statement.total_nanos),
        "rates": {name: str(rate) for name, rate in sorted(inquiry.options.rates.items())},
    }
    return Batch(
        id=f"bat_{found.id.removeprefix('prv_')}",
        kind="reconcile",
        by=by,
        source=inquiry.source.digest,
        upstream=inquiry.source.upstream,
        period=found.coverage.period,
        facts=json.dumps(facts),
    )


def _parts_of(found: Preview, batch: Batch) -> Iterator[tuple[int, Operation[object]]]:
    """Each transaction, with the number of its rows; one that keeps the batch if there is none."""
    source, comparison = found.inquiry.source, found.comparison
    if not comparison.changes:
        yield 0, functools.partial(reconcile.record_agreement, source=source, batch=batch)
    elif isinstance(comparison, SumComparison):
        yield from _sums(comparison, found, batch)
    else:
        yield from _calls(comparison, found, batch)


def _calls(
    found: Comparison, shown: Preview, batch: Batch
) -> Iterator[tuple[int, Operation[object]]]:
    source = shown.inquiry.source
    correct = functools.partial(reconcile.correct_calls, source=source, batch=batch)
    add = functools.partial(
        reconcile.add_missing, known_ids=found.known_ids, source=source, batch=batch
    )
    for findings in _split(found.to_correct):
        yield len(findings), functools.partial(correct, findings=findings)
    for billed in _split(found.missing):
        yield len(billed), functools.partial(add, billed=billed)
    for changes in _split(found.fees.changes):
        yield (
            len(changes),
            functools.partial(reconcile.add_fees, changes=changes, source=source, batch=batch),
        )


def _sums(
    found: SumComparison, shown: Preview, batch: Batch
) -> Iterator[tuple[int, Operation[object]]]:
    source, options = shown.inquiry.source, shown.inquiry.options
    confirmed = functools.partial(reconcile.confirm_estimates, source=source, batch=batch)
    add = functools.partial(reconcile.add_shares, options=options, source=source, batch=batch)
    for call_ids in _split(found.estimates):
        yield len(call_ids), functools.partial(confirmed, call_ids=call_ids)
    for sums in _split(found.differing):
        yield sum(len(each.shares) for each in sums), functools.partial(add, sums=sums)


def _split(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + PART] for start in range(0, len(items), PART))
