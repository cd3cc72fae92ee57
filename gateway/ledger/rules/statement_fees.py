"""Fees and credits: lines of a statement without a call, matched with the ledger's adjustments.

A fee is known again by its id, else by its day, type and amount; a credit of a call by the call and
the amount. The wording of a line does not matter.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from hashlib import sha256

from gateway.ledger.rules.statement_lines import StatementLine, StatementTotals
from gateway.ledger.rules.statement_matching import LedgerCall
from gateway.model.windows import day_of


@dataclass(frozen=True, slots=True)
class FeeChange:
    """An adjustment to book, `id`: a new one, or the `number`th row on one that is there.

    `before_nanos` is its amount until now: that of another statement, or 0 if it was taken back.
    """

    line: StatementLine
    id: str
    before_nanos: int = 0
    number: int = 0

    @property
    def nanos(self) -> int:
        return self.line.cost_nanos - self.before_nanos


@dataclass(frozen=True, slots=True)
class FeeMatching:
    """The result. `gone` are adjustments of the compared days that the statement does not have."""

    changes: tuple[FeeChange, ...]
    agreed: int
    gone: tuple[LedgerCall, ...]


def match_fees(
    lines: Iterable[StatementLine],
    booked: Sequence[LedgerCall],
    upstream: str,
    zone: tzinfo,
    days: tuple[str, str],
) -> FeeMatching:
    """Match lines with the adjustments booked: standing ones first, then those taken back."""
    left, ids, numbers = _Fees(booked), {fee.id for fee in booked}, Counter[str]()
    changes: list[FeeChange] = []
    agreed = 0
    for line in lines:
        if found := left.take(line, zone):
            if found.cost_nanos == line.cost_nanos:
                agreed += 1
            else:
                number = found.corrections + 1
                changes.append(FeeChange(line, found.id, found.cost_nanos, number))
        elif line.cost_nanos:
            changes.append(FeeChange(line, _new_id(line, upstream, zone, ids, numbers)))
    gone = tuple(fee for fee in left.rest if fee.cost_nanos and days[0] <= fee.day <= days[1])
    return FeeMatching(tuple(changes), agreed, gone)


def booked_parts(statement: StatementTotals, booked: Sequence[LedgerCall]) -> list[StatementLine]:
    """The lines of calls that an earlier statement brought alone, and that are adjustments so."""
    left = _Fees([fee for fee in booked if fee.cost_nanos])
    parts = (line for billed in statement.calls for line in billed.parts)
    return [line for line in parts if left.take(replace(line, line_id=""), UTC)]


class _Fees:
    """Adjustments by what they are known by. Each is taken once."""

    def __init__(self, booked: Sequence[LedgerCall]) -> None:
        self.taken: set[str] = set()
        self.all = sorted(booked, key=lambda fee: (not fee.cost_nanos, fee.at_ms, fee.id))
        self.by_key: defaultdict[tuple[object, ...], deque[LedgerCall]] = defaultdict(deque)
        for fee in self.all:
            for key in _keys(fee):
                self.by_key[key].append(fee)

    @property
    def rest(self) -> list[LedgerCall]:
        return [fee for fee in self.all if fee.id not in self.taken]

    def take(self, line: StatementLine, zone: tzinfo) -> LedgerCall | None:
        """The fee of this line. One of an earlier version, without a type, is of any type."""
        found = self.by_key[_key(line, zone)]
        while found and found[0].id in self.taken:
            found.popleft()
        named = bool(line.line_id or line.names_call)
        fitting = (fee for fee in found if named or fee.route in ("", fee_type(line)))
        fee = next((fee for fee in fitting if fee.id not in self.taken), None)
        if fee:
            self.taken.add(fee.id)
        return fee


def _keys(fee: LedgerCall) -> list[tuple[object, ...]]:
    if fee.upstream_ids:
        by_id = [("id", name) for name in fee.upstream_ids]
        return [*by_id, *(("call", name, "", fee.first_nanos) for name in fee.upstream_ids)]
    if fee.request_id:
        return [("call", "", fee.request_id, fee.first_nanos)]
    return [("day", fee.day, fee.first_nanos)]


def _key(line: StatementLine, zone: tzinfo) -> tuple[object, ...]:
    if line.line_id:
        return "id", line.line_id
    if line.names_call:
        ours = "" if line.request_id else line.client_request_id
        return "call", line.request_id, ours, line.cost_nanos
    return "day", day_of(line.at_ms, zone), line.cost_nanos


def id_of(kind: str, *said: str) -> str:
    """An id made from these texts alone."""
    return f"{kind}_{sha256(json.dumps(said).encode()).hexdigest()[:32]}"


def fee_type(line: StatementLine) -> str:
    return line.line_item or line.route


def _new_id(
    line: StatementLine, upstream: str, zone: tzinfo, ids: set[str], numbers: Counter[str]
) -> str:
    """An id made from what the fee is known by; equal fees are numbered."""
    known_by = (upstream, fee_type(line), *map(str, _key(line, zone)))
    base = id_of("adj", *known_by)
    while True:
        numbers[base] += 1
        if (name := id_of("adj", *known_by, str(numbers[base]))) not in ids:
            return name
