"""Comparison of the ledger with a statement."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from hashlib import sha256

from gateway.database.database import Transaction
from gateway.database.multirow import fetch_named
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
    """A statement's source: the upstream's name, the file's digest, the ledger's time zone.

    `other_upstreams` have statements of their own.
    """

    upstream: str
    digest: str
    zone: tzinfo
    other_upstreams: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement, and the ledger from `first_day` to `last_day`."""

    first_day: str
    last_day: str
    statement: StatementTotals
    matching: Matching
    pending: tuple[BilledCall, ...]
    """Billed calls that are still reserved here: in flight, or left by a crash."""
    adjustments: Mapping[str, StatementLine]
    """Lines without a call that are not booked yet, by their ledger ids."""
    payers: Payers
    booked_nanos: int
    """The cost of these days in the ledger."""
    elsewhere_nanos: int
    """The cost of other days in the statement."""
    known_ids: frozenset[str]
    booked_in: str | None
    """The day of booking, if all of these days are closed: the first open day."""

    @property
    def missing(self) -> list[BilledCall]:
        return self.matching.missing

    @property
    def to_correct(self) -> list[Finding]:
        return [each for each in self.matching.findings if each.what != "missing"]

    @property
    def changes(self) -> int:
        return len(self.matching.findings) + len(self.adjustments)

    @property
    def after_its_end(self) -> int:
        """The number of extra calls settled after the statement's last line."""
        last_ms = self.statement.last_ms or 0
        extra = (each.call for each in self.matching.findings if each.what == "extra")
        return sum(call is not None and call.at_ms > last_ms for call in extra)

    @property
    def pending_nanos(self) -> int:
        return sum(each.cost_nanos for each in self.pending)

    @property
    def undecided_nanos(self) -> int:
        """The cost in these days of calls that may be on another statement."""
        return sum(
            call.cost_nanos
            for call in self.matching.undecided
            if self.first_day <= call.day <= self.last_day
        )

    @property
    def off_nanos(self) -> int:
        """The ledger's excess over the statement, without pending and undecided calls."""
        billed = self.statement.total_nanos - self.elsewhere_nanos - self.pending_nanos
        return self.booked_nanos - self.undecided_nanos - billed


async def compare(
    tx: Transaction,
    statement: StatementTotals,
    source: Source,
    span: BilledPeriod,
    days: tuple[str, str],
) -> Comparison:
    """Find calls that only the statement or only the ledger has, or at another cost.

    Reads all calls of these days, and calls of other days that the statement names.
    """
    statement = await _without_booked(tx, statement, source.upstream)
    calls = await ledger_calls(tx, *days, statement.calls, source.other_upstreams)
    adjustments = adjustment_ids(statement.adjustments, source.upstream)
    matching, pending = await _without_held(tx, match(statement.calls, calls, span))
    lines = [billed.line for billed in matching.missing]
    there = await _booked_adjustments(tx, adjustments)
    return Comparison(
        *days,
        statement=statement,
        matching=matching,
        pending=pending,
        adjustments={name: line for name, line in adjustments.items() if name not in there},
        payers=await payers(tx, [*lines, *statement.adjustments]),
        booked_nanos=await _total_about(tx, *days, source.other_upstreams),
        elsewhere_nanos=_elsewhere(statement, matching, source.zone, days),
        known_ids=frozenset(call.id for call in calls),
        booked_in=await _first_open(tx, days[1]),
    )


async def _without_booked(
    tx: Transaction, statement: StatementTotals, upstream: str
) -> StatementTotals:
    """Count a credit that an earlier statement booked as an adjustment, not in its call again."""
    of_calls = (line for billed in statement.calls for line in billed.parts)
    named = adjustment_ids(of_calls, upstream)
    there = await _booked_adjustments(tx, named)
    return move_to_adjustments(statement, [named[name] for name in there]) if there else statement


async def _first_open(tx: Transaction, last_day: str) -> str | None:
    day = open_day(last_day, await closed_through(tx))
    return None if day == last_day else day


async def _without_held(
    tx: Transaction, matching: Matching
) -> tuple[Matching, tuple[BilledCall, ...]]:
    """Exclude missing calls that are not settled yet."""
    missing = matching.missing
    held = await held_requests(tx, [billed.client_request_id for billed in missing])
    pending = tuple(billed for billed in missing if billed.client_request_id in held)
    excluded = {id(billed) for billed in pending}
    findings = tuple(each for each in matching.findings if id(each.billed) not in excluded)
    return replace(matching, findings=findings), pending


def _elsewhere(
    statement: StatementTotals, matching: Matching, zone: tzinfo, days: tuple[str, str]
) -> int:
    """The cost of the statement's calls and lines that the ledger has in other days."""
    found = [(line.cost_nanos, day_of(line.at_ms, zone)) for line in statement.adjustments]
    found += [(billed.cost_nanos, call.day) for billed, call in matching.agreed]
    for each in matching.findings:
        if billed := each.billed:
            day = each.call.day if each.call else day_of(billed.line.at_ms, zone)
            found.append((billed.cost_nanos, day))
    return sum(nanos for nanos, day in found if not days[0] <= day <= days[1])


def adjustment_ids(lines: Iterable[StatementLine], upstream: str) -> dict[str, StatementLine]:
    """The lines by ids made from their content; equal lines are numbered."""
    found: dict[str, StatementLine] = {}
    seen: dict[str, int] = {}
    for line in lines:
        facts = (line.request_id, line.client_request_id, line.at_ms, line.cost_nanos)
        said = json.dumps([upstream, *facts, line.model, line.route, line.credential])
        seen[said] = seen.get(said, 0) + 1
        found[id_of("adj", said, str(seen[said]))] = line
    return found


def id_of(kind: str, *said: str) -> str:
    """An id made from these texts alone."""
    return f"{kind}_{sha256(json.dumps(said).encode()).hexdigest()[:32]}"


async def _booked_adjustments(tx: Transaction, ids: Iterable[str]) -> set[str]:
    """Those of these adjustments that are in the ledger already."""
    rows = await fetch_named(tx, "SELECT id FROM ledger WHERE id IN {names}", ids)
    return {row["id"] for row in rows}


async def _total_about(
    tx: Transaction, first_day: str, last_day: str, other_upstreams: Collection[str]
) -> int:
    """The cost of everything that concerns these days, whenever it was booked."""
    rows = await tx.fetch(
        "SELECT upstream, CAST(SUM(cost_nanos) AS BIGINT) AS nanos FROM ledger "
        "WHERE (day >= $1 AND day <= $2 AND late_for IS NULL) "
        "OR (late_for >= $1 AND late_for <= $2) GROUP BY upstream",
        *(first_day, last_day),
    )
    return sum(row["nanos"] for row in rows if row["upstream"] not in other_upstreams)
