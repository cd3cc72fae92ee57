"""Comparison of the ledger with a statement of calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import cached_property

from gateway.database.database import Transaction
from gateway.ledger.rules.payer import Shift
from gateway.ledger.rules.statement_fees import FeeMatching, booked_parts, match_fees
from gateway.ledger.rules.statement_limits import ChangeSize
from gateway.ledger.rules.statement_lines import BilledCall, StatementTotals, move_to_adjustments
from gateway.ledger.rules.statement_matching import Finding, LedgerCall, Matching, match
from gateway.ledger.rules.statement_period import Coverage
from gateway.ledger.rules.statement_sums import days_around
from gateway.ledger.tables.closed_days import closed_through, open_day
from gateway.ledger.tables.ledger_calls import calls_named, held_requests, is_at, ledger_calls
from gateway.ledger.tables.payers import Payers, payers
from gateway.model.windows import day_of


@dataclass(frozen=True, slots=True)
class Source:
    """A statement's source: the upstream's name, the file's digest, the ledger's time zone."""

    upstream: str
    digest: str
    zone: tzinfo


@dataclass(frozen=True)
class Comparison:
    """A statement, and the ledger from `first_day` to `last_day`. `zone` is the ledger's."""

    first_day: str
    last_day: str
    zone: tzinfo
    statement: StatementTotals
    matching: Matching
    pending: tuple[BilledCall, ...]
    """Billed calls that are still reserved here: in flight, or left by a crash."""
    fees: FeeMatching
    payers: Payers
    booked_nanos: int
    """The cost of these days in the ledger."""
    elsewhere_nanos: int
    """The cost of other days in the statement."""
    known_ids: frozenset[str]
    covered: int
    """The number of calls with a cost that the statement must have, if they were billed."""
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
        return len(self.matching.findings) + len(self.fees.changes)

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
    def gone_nanos(self) -> int:
        """The amount of adjustments that are not on the statement."""
        return sum(fee.cost_nanos for fee in self.fees.gone)

    @property
    def off_nanos(self) -> int:
        """The ledger's excess over the statement, without what is listed and left as it is."""
        billed = self.statement.total_nanos - self.elsewhere_nanos - self.pending_nanos
        return self.booked_nanos - self.undecided_nanos - self.gone_nanos - billed

    @cached_property
    def shifts(self) -> list[Shift]:
        """The amounts to book."""
        found = []
        for each in self.matching.findings:
            nanos = each.after_nanos - each.before_nanos
            if call := each.call:
                found.append(Shift(call.team, call.key_id, call.day, nanos))
            elif each.billed:
                payer, day = self.payers.of(each.billed.line), self._day(each.billed.line.at_ms)
                found.append(Shift(payer.team, payer.key_id, day, nanos))
        for fee in self.fees.changes:
            payer = self.payers.of(fee.line)
            found.append(Shift(payer.team, payer.key_id, self._day(fee.line.at_ms), fee.nanos))
        return found

    def _day(self, at_ms: int) -> str:
        return day_of(at_ms, self.zone)

    @property
    def size(self) -> ChangeSize:
        findings = self.matching.findings
        pairs = [(billed.cost_nanos, call.cost_nanos) for billed, call in self.matching.agreed]
        pairs += [(f.after_nanos, f.before_nanos) for f in findings if f.billed and _known(f.call)]
        return ChangeSize(
            calls=self.covered,
            extra=sum(each.what == "extra" for each in findings),
            changed_nanos=sum(abs(each.nanos) for each in self.shifts),
            sum_nanos=max(self.booked_nanos, self.statement.total_nanos),
            billed_nanos=sum(billed for billed, _ in pairs),
            booked_nanos=sum(booked for _, booked in pairs),
        )

    @property
    def said(self) -> list[object]:
        """What would be booked, as JSON: all that a preview's name stands for."""
        findings = [
            (f.what, f.call and f.call.id, f.billed and f.billed.line.number, f.after_nanos)
            for f in self.matching.findings
        ]
        fees = [(fee.id, fee.number, fee.nanos) for fee in self.fees.changes]
        return [findings, fees, self.shifts]


def _known(call: LedgerCall | None) -> bool:
    return call is not None and not call.estimated


async def compare(
    tx: Transaction, statement: StatementTotals, source: Source, coverage: Coverage
) -> Comparison:
    """Find calls that only the statement or only the ledger has, or at another cost.

    Reads all calls and adjustments of these days, and those of other days that the statement names.
    """
    days, span = coverage.days, coverage.span
    booked = await _booked(tx, statement, source, days)
    calls = [each for each in booked if each.kind == "call"]
    fees = [each for each in booked if each.kind == "adjustment"]
    # A credit that an earlier statement brought alone is not counted in its call again.
    statement = move_to_adjustments(statement, booked_parts(statement, fees))
    matching, pending = await _without_held(tx, match(statement.calls, calls, span))
    lines = [billed.line for billed in matching.missing]
    return Comparison(
        *days,
        zone=source.zone,
        statement=statement,
        matching=matching,
        pending=pending,
        fees=match_fees(statement.adjustments, fees, source.upstream, source.zone, days),
        payers=await payers(tx, [*lines, *statement.adjustments]),
        booked_nanos=await _total_about(tx, *days, source.upstream),
        elsewhere_nanos=_elsewhere(statement, matching, source.zone, days),
        known_ids=frozenset(call.id for call in calls),
        covered=sum(span.covers(call) and call.cost_nanos != 0 for call in calls),
        booked_in=await first_open(tx, days[1]),
    )


async def _booked(
    tx: Transaction, statement: StatementTotals, source: Source, days: tuple[str, str]
) -> list[LedgerCall]:
    """The calls of these days or named by the statement, and the adjustments that its lines may be.

    Those are of these days, of a day before or after in the ledger's time zone, or of the same id.
    """
    calls = await ledger_calls(tx, *days, statement.calls, source.upstream)
    own = [
        BilledCall(replace(line, request_id=line.request_id or line.line_id), 0)
        for line in statement.adjustments
    ]
    in_parts = [billed for billed in statement.calls if billed.parts]
    near = await calls_named(tx, [*own, *in_parts], source.upstream)
    for day in days_around(days):
        near += await ledger_calls(tx, day, day, (), source.upstream)
    known = {each.id for each in calls}
    fees = {each.id: each for each in near if each.kind == "adjustment" and each.id not in known}
    return [*calls, *fees.values()]


async def first_open(tx: Transaction, last_day: str) -> str | None:
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


async def _total_about(tx: Transaction, first_day: str, last_day: str, upstream: str) -> int:
    """The cost of everything that concerns these days, whenever it was booked."""
    rows = await tx.fetch(
        "SELECT upstream, CAST(SUM(cost_nanos) AS BIGINT) AS nanos FROM ledger "
        "WHERE (day >= $1 AND day <= $2 AND late_for IS NULL) "
        "OR (late_for >= $1 AND late_for <= $2) GROUP BY upstream",
        *(first_day, last_day),
    )
    return sum(row["nanos"] for row in rows if is_at(row, upstream))
