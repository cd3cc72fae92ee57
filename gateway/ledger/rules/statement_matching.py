"""Matching: compares the upstream's statement with the ledger, call by call.

A line matches a call by the upstream's request id. If the ledger has none, because no answer
came, it matches by our request id, which was sent with the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.ledger.rules.payer import Payer
from gateway.ledger.rules.statement_lines import BilledCall

What = Literal["missing", "extra", "differing", "confirmed"]


@dataclass(frozen=True, slots=True)
class LedgerCall:
    """A call in the ledger, or an adjustment, with its corrections.

    `upstream_ids` are the upstream's ids of it; `at_ms` is the time of settlement, `day` the day
    of the call. `estimated` is true if the cost is unknown. `first_nanos` is the cost without the
    corrections, of which there are `corrections`; an adjustment's `route` is its type.
    """

    id: str
    request_id: str
    upstream_ids: tuple[str, ...]
    cost_nanos: int
    estimated: bool
    at_ms: int
    day: str
    team: str = ""
    key_id: str = ""
    model: str = ""
    kind: Literal["call", "adjustment"] = "call"
    owner: str = ""
    cost_centre: str = ""
    tags: str = "{}"
    route: str = ""
    upstream_model: str = ""
    first_nanos: int = 0
    corrections: int = 0
    batch: str = ""

    @property
    def payer(self) -> Payer:
        return Payer(self.team, self.key_id, self.model, self.owner, self.cost_centre, self.tags)


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """The period that a statement covers, from `from_ms` to before `until_ms`.

    A call was billed at most `edge_ms` before or after its settlement.
    """

    from_ms: int
    until_ms: int
    edge_ms: int = 0

    def covers(self, call: LedgerCall) -> bool:
        """True if the statement must contain the call, if it was billed."""
        return (
            self.from_ms <= call.at_ms - self.edge_ms and call.at_ms + self.edge_ms < self.until_ms
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, or a confirmed estimate.

    "missing" is billed and not in the ledger, "extra" in the ledger and not billed, "differing"
    billed at another cost; "confirmed" is an estimate that proved right.
    """

    what: What
    billed: BilledCall | None
    call: LedgerCall | None

    @property
    def before_nanos(self) -> int:
        return self.call.cost_nanos if self.call else 0

    @property
    def after_nanos(self) -> int:
        return self.billed.cost_nanos if self.billed else 0


@dataclass(frozen=True, slots=True)
class Matching:
    """The result. `agreed` are calls with equal cost on both sides."""

    findings: tuple[Finding, ...]
    agreed: tuple[tuple[BilledCall, LedgerCall], ...]
    undecided: tuple[LedgerCall, ...]
    """Not on this statement, but so near an end of it that they may be on another one."""

    @property
    def missing(self) -> list[BilledCall]:
        return [f.billed for f in self.findings if f.what == "missing" and f.billed]


def match(
    billed: Sequence[BilledCall], calls: Sequence[LedgerCall], span: BilledPeriod
) -> Matching:
    """Match lines with calls, and find those left on either side."""
    pairs, lines, left = _by_upstream_id(billed, calls)
    more, lines, left = _by_our_id(lines, left)
    findings: list[Finding] = []
    agreed: list[tuple[BilledCall, LedgerCall]] = []
    for line, call in (*pairs, *more):
        if line.cost_nanos != call.cost_nanos:
            findings.append(Finding("differing", line, call))
        elif call.estimated:
            findings.append(Finding("confirmed", line, call))
        else:
            agreed.append((line, call))
    findings += [Finding("missing", line, None) for line in lines if line.cost_nanos]
    unmatched = [call for call in left if call.cost_nanos or call.estimated]
    findings += [Finding("extra", None, call) for call in unmatched if span.covers(call)]
    return Matching(
        findings=tuple(sorted(findings, key=_place)),
        agreed=tuple(agreed),
        undecided=tuple(call for call in unmatched if not span.covers(call)),
    )


_ORDER = ("missing", "extra", "differing", "confirmed")


def _place(finding: Finding) -> tuple[int, int, str]:
    call, billed = finding.call, finding.billed
    at_ms = billed.line.at_ms if billed else call.at_ms if call else 0
    return _ORDER.index(finding.what), at_ms, call.id if call else ""


Pairs = list[tuple[BilledCall, LedgerCall]]


def _by_upstream_id(
    billed: Iterable[BilledCall], calls: Sequence[LedgerCall]
) -> tuple[Pairs, list[BilledCall], list[LedgerCall]]:
    places = {
        name: place
        for place, call in reversed(list(enumerate(calls)))
        for name in call.upstream_ids
    }
    pairs: Pairs = []
    taken: set[int] = set()
    left: list[BilledCall] = []
    for line in billed:
        place = places.get(line.request_id) if line.request_id else None
        if place is None or place in taken:
            left.append(line)
        else:
            taken.add(place)
            pairs.append((line, calls[place]))
    return pairs, left, [call for place, call in enumerate(calls) if place not in taken]


def _by_our_id(
    billed: Sequence[BilledCall], calls: Sequence[LedgerCall]
) -> tuple[Pairs, list[BilledCall], list[LedgerCall]]:
    """Of several calls of one request, equal costs match first, then the order of time decides."""
    waiting: dict[str, list[LedgerCall]] = {}
    for call in sorted(calls, key=lambda each: (each.at_ms, each.id)):
        if call.request_id and not call.upstream_ids:
            waiting.setdefault(call.request_id, []).append(call)
    pairs: Pairs = []
    lines = list(billed)
    for same_cost in (True, False):
        left: list[BilledCall] = []
        for line in lines:
            there = waiting.get(line.client_request_id, [])
            fits = (c for c in there if not same_cost or c.cost_nanos == line.cost_nanos)
            if found := next(fits, None):
                there.remove(found)
                pairs.append((line, found))
            else:
                left.append(line)
        lines = left
    taken = {call.id for _, call in pairs}
    return pairs, lines, [call for call in calls if call.id not in taken]
