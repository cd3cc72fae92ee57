"""Statements of sums: compared with the ledger by day or month, and by model where they name one.

Calls keep their cost. A difference is shared out by what each team paid in that time, to the
nano-dollar, and the estimates that a sum covers are settled by it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import NamedTuple, TypeVar

from gateway.ledger.rules.payer import NOBODY, Payer
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.rules.statement_matching import LedgerCall
from gateway.model.windows import day_of, days_before, month_days, start_ms

_NOON_MS = 43_200_000
_AFTER_NAME = re.compile(r"(-\d{4}-\d{2}-\d{2})?([^a-z0-9._-].*)?", re.DOTALL)

Name = TypeVar("Name", bound="str | Payer")


class Group(NamedTuple):
    """A day such as 2026-11-25, or a month, and a model; "" is all models."""

    period: str
    model: str


@dataclass(frozen=True, slots=True)
class ComparedSum:
    """A sum of the statement, and of the ledger, with the shares of their difference."""

    group: Group
    billed_nanos: int
    booked_nanos: int
    calls: int
    shares: tuple[tuple[Payer, int], ...]
    estimates: tuple[LedgerCall, ...]

    @property
    def nanos(self) -> int:
        return self.billed_nanos - self.booked_nanos


def compare_groups(
    lines: Iterable[StatementLine],
    booked: Sequence[LedgerCall],
    options: StatementOptions,
    days: tuple[str, str],
) -> list[ComparedSum]:
    """The sums of every day (or month) from the first of these days to the last, and model."""
    lines = list(lines)
    name_of = _names(lines, booked, options)
    billed: defaultdict[Group, int] = defaultdict(int)
    for line in (each for each in lines if each.cost_nanos):
        group = Group(_period(line.at_ms, options), name_of(line.model or line.line_item))
        billed[group] += line.cost_nanos
    entries: defaultdict[Group, list[LedgerCall]] = defaultdict(list)
    for each in booked:
        if days[0] <= day_of(each.at_ms, options.zone) <= days[1]:
            entries[Group(_period(each.at_ms, options), name_of(each.model))].append(each)
    groups = sorted({*billed, *entries})
    return [_compared(group, billed[group], entries[group]) for group in groups]


def _compared(group: Group, billed_nanos: int, booked: Sequence[LedgerCall]) -> ComparedSum:
    calls = [each for each in booked if each.kind == "call"]
    total = sum(each.cost_nanos for each in booked)
    shares = share_by_team(billed_nanos - total, booked, calls)
    estimates = tuple(each for each in calls if each.estimated)
    return ComparedSum(group, billed_nanos, total, len(calls), shares, estimates)


def share_by_team(
    nanos: int, booked: Iterable[LedgerCall], calls: Sequence[LedgerCall]
) -> tuple[tuple[Payer, int], ...]:
    """An amount by each team's part of the cost, and within a team by each payer's.

    By the number of calls where none cost anything; to nobody where there is none.
    """
    costs: defaultdict[Payer, int] = defaultdict(int)
    for each in booked:
        costs[each.payer] += each.cost_nanos
    weights = {payer: cost for payer, cost in costs.items() if cost > 0}
    if not weights:
        for each in calls:
            weights[each.payer] = weights.get(each.payer, 0) + 1
    teams: defaultdict[str, dict[Payer, int]] = defaultdict(dict)
    for payer, weight in (weights or {NOBODY: 1}).items():
        teams[payer.team][payer] = weight
    parts: dict[Payer, int] = {}
    whole = {team: sum(payers.values()) for team, payers in teams.items()}
    for team, of_team in share(nanos, whole).items():
        parts |= share(of_team, teams[team])
    return tuple((payer, part) for payer, part in sorted(parts.items()) if part)


def share(nanos: int, weights: Mapping[Name, int]) -> dict[Name, int]:
    """An amount by these weights, by the largest remainder: the parts add up to it."""
    whole, amount = sum(weights.values()), abs(nanos)
    parts = {name: divmod(amount * weight, whole) for name, weight in weights.items()}
    left = amount - sum(part for part, _ in parts.values())
    ahead = sorted(parts, key=lambda name: (-parts[name][1], name))[:left]
    sign = -1 if nanos < 0 else 1
    return {name: sign * (part + (name in ahead)) for name, (part, _) in parts.items()}


def booked_at(group: Group, options: StatementOptions) -> int:
    """The moment of a group's adjustments: noon of its day, or of the last day of its month."""
    day = group.period if options.granularity == "day" else month_days(group.period)[1]
    return start_ms(day, options.zone) + _NOON_MS


def days_around(days: tuple[str, str]) -> tuple[str, str]:
    """These days and their neighbours, which they overlap in another time zone."""
    return days_before(days[0], 1), days_before(days[1], -1)


def _period(at_ms: int, options: StatementOptions) -> str:
    day = day_of(at_ms, options.zone)
    return day if options.granularity == "day" else day[:7]


class _Names:
    """The ledger's models by the statement's names of them."""

    def __init__(self, models: Mapping[str, str], known: Mapping[str, str]) -> None:
        self.models = models
        self.known = dict(sorted(known.items(), key=lambda item: -len(item[0])))
        self.by_model = True

    def find(self, text: str) -> str | None:
        lower = text.lower()
        for pattern, model in self.models.items():
            if fnmatchcase(lower, pattern.lower()):
                return model
        for name, model in self.known.items():
            if lower.startswith(name) and _AFTER_NAME.fullmatch(lower, len(name)):
                return model
        return None

    def __call__(self, text: str) -> str:
        return (self.find(text) or text) if self.by_model else ""


def _names(
    lines: Sequence[StatementLine], booked: Sequence[LedgerCall], options: StatementOptions
) -> _Names:
    """By model only if a line names one that was called."""
    known: dict[str, str] = {}
    for call in sorted(booked, key=attrgetter("model", "upstream_model")):
        if call.kind == "call" and call.model:
            known.setdefault(call.model.lower(), call.model)
            known.setdefault((call.upstream_model or call.model).lower(), call.model)
    names = _Names(options.models, known)
    names.by_model = any(names.find(line.model or line.line_item) for line in lines)
    return names
