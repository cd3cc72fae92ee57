"""Comparing the ledger with a statement: what the ledger knows of what was billed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from hashlib import sha256

from gateway.rules.reconciling import Finding, Known, Matching, Span, match
from gateway.rules.statements import Billed, Line, Statement
from gateway.rules.windows import day_of, days_before
from gateway.state.closed import closed_through, open_day
from gateway.state.database import Row, Transaction
from gateway.state.multirow import placeholders

UNATTRIBUTED = "(unattributed)"
"""The team and the key of what was billed and nobody here is known to have asked for."""

_AT_ONCE = 200
_KNOWN = (
    "l.id, l.request_id, l.upstream_request_id, l.cost_nanos, l.estimated, l.at_ms, l.team, "
    "l.key_id, l.model, COALESCE(l.late_for, l.day) AS about, c.corrected_nanos, c.corrected_id"
)


def _calls_where(which: str) -> str:
    """Calls of which this holds, with their corrections. It stands twice: `k` is a call."""
    return (
        f"SELECT {_KNOWN} FROM ledger l LEFT JOIN ("
        "SELECT x.corrects, CAST(SUM(x.cost_nanos) AS BIGINT) AS corrected_nanos, "
        "MAX(x.upstream_request_id) AS corrected_id FROM ledger k JOIN ledger x "
        f"ON x.corrects = k.id WHERE k.kind = 'call' AND {which} GROUP BY x.corrects"
        f") c ON c.corrects = l.id WHERE l.kind = 'call' AND {which.replace('k.', 'l.')}"
    )


_OF_DAY = _calls_where("k.day = $1 AND k.late_for IS NULL")
_LATE_FOR_DAY = _calls_where("k.late_for = $1")
_BY_UPSTREAM_ID = (
    "k.id IN (SELECT COALESCE(corrects, id) FROM ledger "
    "WHERE upstream_request_id <> '' AND upstream_request_id IN "
)
_BY_OUR_ID = "(k.request_id IN "
_ATTRIBUTES = "team, key_id, model, owner, cost_centre, tags"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who asked for a call, as their request says."""

    team: str = UNATTRIBUTED
    key_id: str = UNATTRIBUTED
    model: str = ""
    owner: str = ""
    cost_centre: str = ""
    tags: str = "{}"


NOBODY = Payer()


@dataclass(frozen=True, slots=True)
class Payers:
    """Who pays, by our request ids and by the upstream's."""

    found: Mapping[tuple[str, str], Payer]

    def of(self, line: Line) -> Payer:
        """Who asked for what this line is about, as far as anybody knows."""
        by_upstream = self.found.get(("upstream_request_id", line.request_id), NOBODY)
        return self.found.get(("request_id", line.client_request_id), by_upstream)


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
    statement: Statement
    matching: Matching
    pending: tuple[Billed, ...]
    """Billed calls that are in flight here, or were left by a crash: not missing."""
    adjustments: Mapping[str, Line]
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
    def missing(self) -> list[Billed]:
        return [f.billed for f in self.matching.findings if f.what == "missing" and f.billed]

    @property
    def to_correct(self) -> list[Finding]:
        return [each for each in self.matching.findings if each.what != "missing"]

    @property
    def changes(self) -> int:
        return len(self.matching.findings) + len(self.adjustments)

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
    tx: Transaction, statement: Statement, source: Source, span: Span, days: tuple[str, str]
) -> Comparison:
    """Find what of a statement the ledger lacks, and what of these days it has too much.

    Reads all calls of these days, and those of others that the statement names.
    """
    calls = await known_calls(tx, *days, statement.calls)
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


async def _first_open(tx: Transaction, last_day: str) -> str | None:
    day = open_day(last_day, await closed_through(tx))
    return None if day == last_day else day


async def _without_held(tx: Transaction, matching: Matching) -> tuple[Matching, tuple[Billed, ...]]:
    """Set aside what is missing because its call is not settled yet."""
    missing = [each.billed for each in matching.findings if each.what == "missing" and each.billed]
    held = await held_requests(tx, [billed.client_request_id for billed in missing])
    pending = tuple(billed for billed in missing if billed.client_request_id in held)
    aside = {id(billed) for billed in pending}
    findings = tuple(each for each in matching.findings if id(each.billed) not in aside)
    return replace(matching, findings=findings), pending


def _elsewhere(
    statement: Statement, matching: Matching, zone: tzinfo, days: tuple[str, str]
) -> int:
    """What the statement has that is of other days in our books."""
    found = [(line.cost_nanos, day_of(line.at_ms, zone)) for line in statement.adjustments]
    found += [(billed.cost_nanos, call.day) for billed, call in matching.agreed]
    for each in matching.findings:
        if billed := each.billed:
            day = each.call.day if each.call else day_of(billed.line.at_ms, zone)
            found.append((billed.cost_nanos, day))
    return sum(nanos for nanos, day in found if not days[0] <= day <= days[1])


def adjustment_ids(lines: Iterable[Line], upstream: str) -> dict[str, Line]:
    """The lines by ids that follow from what they say; of the same ones, from their number."""
    found: dict[str, Line] = {}
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


async def known_calls(
    tx: Transaction, first_day: str, last_day: str, billed: Sequence[Billed]
) -> list[Known]:
    """The calls that these days are about, and those of any day that the statement names."""
    calls: dict[str, Known] = {}
    day = first_day
    while day <= last_day:
        for rows in (await tx.fetch(_OF_DAY, day), await tx.fetch(_LATE_FOR_DAY, day)):
            calls.update((row["id"], _known(row)) for row in rows)
        day = days_before(day, -1)
    met = {name for call in calls.values() for name in call.upstream_ids}
    elsewhere = [each for each in billed if each.request_id not in met]
    calls.update((call.id, call) for call in await calls_named(tx, elsewhere))
    return list(calls.values())


async def calls_named(tx: Transaction, billed: Sequence[Billed]) -> list[Known]:
    """The calls that these lines name by the upstream's request id or by ours."""
    calls: dict[str, Known] = {}
    for names, which in (
        ([each.request_id for each in billed], _BY_UPSTREAM_ID),
        ([each.client_request_id for each in billed], _BY_OUR_ID),
    ):
        for ids in _portions(names):
            rows = await tx.fetch(_calls_where(which + placeholders(len(ids)) + ")"), *ids)
            calls.update((row["id"], _known(row)) for row in rows)
    return list(calls.values())


def _known(row: Row) -> Known:
    """A call with its corrections added up."""
    ids = {row["upstream_request_id"], row["corrected_id"]}
    return Known(
        id=row["id"],
        request_id=row["request_id"],
        upstream_ids=tuple(sorted(ids - {"", None})),
        cost_nanos=row["cost_nanos"] + (row["corrected_nanos"] or 0),
        estimated=bool(row["estimated"]) and row["corrected_nanos"] is None,
        at_ms=row["at_ms"],
        day=row["about"],
        team=row["team"],
        key_id=row["key_id"],
        model=row["model"],
    )


async def payers(tx: Transaction, lines: Iterable[Line]) -> Payers:
    """Who asked for what these lines are about: by the ledger, else by the requests kept."""
    lines = list(lines)
    ours = [line.client_request_id for line in lines]
    found: dict[tuple[str, str], Payer] = {}
    for table, column, names in (
        ("ledger", "upstream_request_id", [line.request_id for line in lines]),
        ("usage_rows", "request_id", ours),
        ("ledger", "request_id", ours),
    ):  # an empty id is nobody's, and the index of the upstream's leaves it out
        for ids in _portions(names):
            rows = await tx.fetch(
                f"SELECT {column} AS name, {_ATTRIBUTES} FROM {table} "
                f"WHERE {column} <> '' AND {column} IN {placeholders(len(ids))}",
                *ids,
            )
            for row in rows:
                if row["team"] != UNATTRIBUTED:
                    facts = {name: row[name] for name in row if name != "name"}
                    found[column, row["name"]] = Payer(**facts)
    return Payers(found)


async def _booked_adjustments(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Which of these adjustments are in the ledger already."""
    found: set[str] = set()
    for some in _portions(ids):
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


async def held_requests(tx: Transaction, request_ids: Iterable[str]) -> set[str]:
    """Which of these requests have a call that is not in the ledger yet."""
    found: set[str] = set()
    for ids in _portions(request_ids):
        rows = await tx.fetch(
            f"SELECT request_id FROM reservations WHERE request_id IN {placeholders(len(ids))}",
            *ids,
        )
        found |= {row["request_id"] for row in rows}
    return found


def _portions(names: Iterable[str]) -> list[list[str]]:
    wanted = [name for name in dict.fromkeys(names) if name]
    return [wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)]
