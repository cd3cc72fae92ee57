"""Comparing the ledger with a statement: what the ledger knows of what was billed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from hashlib import sha256

from gateway.database.database import Transaction
from gateway.database.multirow import placeholders, portions
from gateway.ledger.rules.statement_lines import (
    BilledCall,
    StatementLine,
    StatementTotals,
    move_to_adjustments,
)
from gateway.ledger.rules.statement_matching import BilledPeriod, Finding, Matching, match
from gateway.ledger.tables.closed_days import closed_through, open_day
from gateway.ledger.tables.ledger_calls import held_requests, ledger_calls
from gateway.ledger.tables.payers import Payers, payers
from gateway.model.windows import day_of


@dataclass(frozen=True, slots=True)
class Source:
    """The statement that is compared: the upstream's name, the file's digest, our zone."""

    upstream: str
    digest: str
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement beside the ledger's days from `first_day` to `last_day`."""

    first_day: str
    last_day: str
    statement: StatementTotals
    matching: Matching
    pending: tuple[BilledCall, ...]
    """Billed calls that are in flight here, or were left by a crash: not missing."""
    adjustments: Mapping[str, StatementLine]
    """Lines of no call that are not booked yet, by the ids that they will have."""
    payers: Payers
    booked_nanos: int
    """What the ledger says that these days cost."""
    elsewhere_nanos: int
    """What the statement has of other days."""
    known_ids: frozenset[str]
    booked_in: str | None
    """The first open day, where all of these are closed: what is booked is booked there."""

    @property
    def missing(self) -> list[BilledCall]:
        return [f.billed for f in self.matching.findings if f.what == "missing" and f.billed]

    @property
    def to_correct(self) -> list[Finding]:
        return [each for each in self.matching.findings if each.what != "missing"]

    @property
    def changes(self) -> int:
        return len(self.matching.findings) + len(self.adjustments)

    @property
    def after_its_end(self) -> int:
        """How many calls are extra that were settled after the statement's last line."""
        last_ms = self.statement.last_ms or 0
        extra = (each.call for each in self.matching.findings if each.what == "extra")
        return sum(call is not None and call.at_ms > last_ms for call in extra)

    @property
    def pending_nanos(self) -> int:
        return sum(each.cost_nanos for each in self.pending)

    @property
    def undecided_nanos(self) -> int:
        """What the ledger has of these days that may be on another statement."""
        return sum(
            call.cost_nanos
            for call in self.matching.undecided
            if self.first_day <= call.day <= self.last_day
        )

    @property
    def off_nanos(self) -> int:
        """By how much the ledger is over the statement, with its edges set aside."""
        billed = self.statement.total_nanos - self.elsewhere_nanos - self.pending_nanos
        return self.booked_nanos - self.undecided_nanos - billed


async def compare(
    tx: Transaction,
    statement: StatementTotals,
    source: Source,
    span: BilledPeriod,
    days: tuple[str, str],
) -> Comparison:
    """Find what of a statement the ledger lacks, and what of these days it has too much.

    Reads all calls of these days, and those of others that the statement names.
    """
    statement = await _without_booked(tx, statement, source.upstream)
    calls = await ledger_calls(tx, *days, statement.calls)
    adjustments = adjustment_ids(statement.adjustments, source.upstream)
    matching, pending = await _without_held(tx, match(statement.calls, calls, span))
    lines = [f.billed.line for f in matching.findings if f.what == "missing" and f.billed]
    there = await _booked_adjustments(tx, list(adjustments))
    return Comparison(
        *days,
        statement=statement,
        matching=matching,
        pending=pending,
        adjustments={name: line for name, line in adjustments.items() if name not in there},
        payers=await payers(tx, [*lines, *statement.adjustments]),
        booked_nanos=await _total_about(tx, *days),
        elsewhere_nanos=_elsewhere(statement, matching, source.zone, days),
        known_ids=frozenset(call.id for call in calls),
        booked_in=await _first_open(tx, days[1]),
    )


async def _without_booked(
    tx: Transaction, statement: StatementTotals, upstream: str
) -> StatementTotals:
    """A credit that another statement has brought already is not taken off its call again."""
    of_calls = (line for billed in statement.calls for line in billed.parts)
    named = adjustment_ids(of_calls, upstream)
    there = await _booked_adjustments(tx, list(named))
    return move_to_adjustments(statement, [named[name] for name in there]) if there else statement


async def _first_open(tx: Transaction, last_day: str) -> str | None:
    day = open_day(last_day, await closed_through(tx))
    return None if day == last_day else day


async def _without_held(
    tx: Transaction, matching: Matching
) -> tuple[Matching, tuple[BilledCall, ...]]:
    """Set aside what is missing because its call is not settled yet."""
    missing = [each.billed for each in matching.findings if each.what == "missing" and each.billed]
    held = await held_requests(tx, [billed.client_request_id for billed in missing])
    pending = tuple(billed for billed in missing if billed.client_request_id in held)
    aside = {id(billed) for billed in pending}
    findings = tuple(each for each in matching.findings if id(each.billed) not in aside)
    return replace(matching, findings=findings), pending


def _elsewhere(
    statement: StatementTotals, matching: Matching, zone: tzinfo, days: tuple[str, str]
) -> int:
    """What the statement has that is of other days in our books."""
    found = [(line.cost_nanos, day_of(line.at_ms, zone)) for line in statement.adjustments]
    found += [(billed.cost_nanos, call.day) for billed, call in matching.agreed]
    for each in matching.findings:
        if billed := each.billed:
            day = each.call.day if each.call else day_of(billed.line.at_ms, zone)
            found.append((billed.cost_nanos, day))
    return sum(nanos for nanos, day in found if not days[0] <= day <= days[1])


def adjustment_ids(lines: Iterable[StatementLine], upstream: str) -> dict[str, StatementLine]:
    """The lines by ids that follow from what they say; of the same ones, from their number."""
    found: dict[str, StatementLine] = {}
    seen: dict[str, int] = {}
    for line in lines:
        facts = (line.request_id, line.client_request_id, line.at_ms, line.cost_nanos)
        said = json.dumps([upstream, *facts, line.model, line.route, line.credential])
        seen[said] = seen.get(said, 0) + 1
        found[id_of("adj", said, str(seen[said]))] = line
    return found


def id_of(kind: str, *said: str) -> str:
    """An id that is the same whenever the same is said."""
    return f"{kind}_{sha256(json.dumps(said).encode()).hexdigest()[:32]}"


async def _booked_adjustments(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Which of these adjustments are in the ledger already."""
    found: set[str] = set()
    for some in portions(ids):
        rows = await tx.fetch(f"SELECT id FROM ledger WHERE id IN {placeholders(len(some))}", *some)
        found |= {row["id"] for row in rows}
    return found


async def _total_about(tx: Transaction, first_day: str, last_day: str) -> int:
    """What everything cost that these days are about, whenever it was booked."""
    rows = await tx.fetch(
        "SELECT CAST(SUM(cost_nanos) AS BIGINT) AS nanos FROM ledger "
        "WHERE (day >= $1 AND day <= $2 AND late_for IS NULL) "
        "OR (late_for >= $1 AND late_for <= $2)",
        *(first_day, last_day),
    )
    return rows[0]["nanos"] or 0
