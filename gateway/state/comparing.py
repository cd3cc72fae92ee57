"""Comparing the ledger with a statement: what the ledger knows of what was billed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from hashlib import sha256

from gateway.rules.reconciling import Finding, Known, Matching, Span, match
from gateway.rules.statements import Billed, Line, Statement
from gateway.rules.windows import day_of
from gateway.state.closed import closed_through, open_day
from gateway.state.database import Row, Transaction
from gateway.state.multirow import placeholders

UNATTRIBUTED = "(unattributed)"
"""The team and the key of what was billed and nobody here is known to have asked for."""

_AT_ONCE = 200
_KNOWN = (
    "id, kind, request_id, upstream_request_id, cost_nanos, estimated, at_ms, team, key_id, model"
)
_ABOUT = "COALESCE(late_for, day)"
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
    held = await held_requests(tx, [each.client_request_id for each in statement.calls])
    matching, pending = _without_held(match(statement.calls, calls, span), held)
    there = await _booked_adjustments(tx, list(adjustments))
    return Comparison(
        *days,
        statement=statement,
        matching=matching,
        pending=pending,
        adjustments={name: line for name, line in adjustments.items() if name not in there},
        payers=await payers(tx, [*(each.line for each in statement.calls), *statement.adjustments]),
        booked_nanos=await _total_about(tx, *days),
        elsewhere_nanos=_elsewhere(statement, matching, source.zone, days),
        known_ids=frozenset(call.id for call in calls),
        booked_in=await _first_open(tx, days[1]),
    )


async def _first_open(tx: Transaction, last_day: str) -> str | None:
    day = open_day(last_day, await closed_through(tx))
    return None if day == last_day else day


def _without_held(matching: Matching, held: set[str]) -> tuple[Matching, tuple[Billed, ...]]:
    """Set aside what is missing because its call is not settled yet."""
    pending = {
        id(each): each.billed
        for each in matching.findings
        if each.what == "missing" and each.billed and each.billed.client_request_id in held
    }
    findings = tuple(each for each in matching.findings if id(each) not in pending)
    return replace(matching, findings=findings), tuple(pending.values())


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
    rows = {row["id"]: row for row in await _calls_about(tx, first_day, last_day)}
    return await with_corrections(tx, {**rows, **await calls_named(tx, billed)})


async def calls_named(tx: Transaction, billed: Sequence[Billed]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for ids in _portions([each.request_id for each in billed]):
        places = placeholders(len(ids))
        found = await tx.fetch(
            f"SELECT {_KNOWN}, {_ABOUT} AS about FROM ledger WHERE kind = 'call' AND id IN ("
            f"SELECT COALESCE(corrects, id) FROM ledger WHERE upstream_request_id IN {places} "
            "AND upstream_request_id <> '')",
            *ids,
        )
        rows.update((row["id"], row) for row in found)
    for ids in _portions([each.client_request_id for each in billed]):
        found = await tx.fetch(
            f"SELECT {_KNOWN}, {_ABOUT} AS about FROM ledger WHERE kind = 'call' "
            f"AND request_id IN {placeholders(len(ids))}",
            *ids,
        )
        rows.update((row["id"], row) for row in found)
    return rows


async def _calls_about(tx: Transaction, first_day: str, last_day: str) -> list[Row]:
    found: list[Row] = []
    for column in ("day", "late_for"):
        found += await tx.fetch(
            f"SELECT {_KNOWN}, {_ABOUT} AS about FROM ledger WHERE kind = 'call' "
            f"AND {column} >= $1 AND {column} <= $2",
            *(first_day, last_day),
        )
    return [row for row in found if first_day <= row["about"] <= last_day]


async def with_corrections(tx: Transaction, calls: Mapping[str, Row]) -> list[Known]:
    corrections: dict[str, Row] = {}
    for ids in _portions(calls):
        found = await tx.fetch(
            "SELECT corrects, CAST(SUM(cost_nanos) AS BIGINT) AS nanos, "
            "MAX(upstream_request_id) AS upstream_id FROM ledger "
            f"WHERE corrects IN {placeholders(len(ids))} GROUP BY corrects",
            *ids,
        )
        corrections.update((row["corrects"], row) for row in found)
    return [_known(row, corrections.get(name)) for name, row in calls.items()]


def _known(call: Row, corrections: Row | None) -> Known:
    ids = {call["upstream_request_id"], corrections["upstream_id"] if corrections else ""}
    return Known(
        id=call["id"],
        request_id=call["request_id"],
        upstream_ids=frozenset(ids - {""}),
        cost_nanos=call["cost_nanos"] + (corrections["nanos"] if corrections else 0),
        estimated=bool(call["estimated"]) and corrections is None,
        at_ms=call["at_ms"],
        day=call["about"],
        team=call["team"],
        key_id=call["key_id"],
        model=call["model"],
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
    ):
        for ids in _portions(names):
            rows = await tx.fetch(
                f"SELECT {column} AS name, {_ATTRIBUTES} FROM {table} "
                f"WHERE {column} IN {placeholders(len(ids))}",
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
