"""What a statement is refused for, before anything is booked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from gateway.model.money import usd

MOST_EXTRA_CALLS = 5
MOST_EXTRA_PERCENT = 2
MOST_CHANGED_NANOS = 1_000_000_000
MOST_CHANGED_PERCENT = 5
OTHER_UNIT = 50
"""Amounts that differ by this factor are in another unit: cents are a hundred times dollars."""


@dataclass(frozen=True, slots=True)
class ChangeSize:
    """What a statement would change: the ledger's calls that it covers, and sums of amounts.

    `changed_nanos` adds all changes up, whatever their signs. `billed_nanos` and `booked_nanos` are
    what the same calls, or days, cost by the statement and by the ledger, without estimates.
    """

    calls: int
    extra: int
    changed_nanos: int
    sum_nanos: int
    billed_nanos: int
    booked_nanos: int


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a statement is not booked. `percent` is what `--allow-change` would have to allow."""

    text: str
    percent: int | None = None

    def __str__(self) -> str:
        allow = f" (if it is right: --allow-change {self.percent})"
        return self.text if self.percent is None else self.text + allow


def objections(found: ChangeSize) -> list[Objection]:
    """Why this outcome is not booked without more ado."""
    refused = []
    if 0 not in (found.billed_nanos, found.booked_nanos):
        factor = abs(Decimal(found.billed_nanos) / found.booked_nanos)
        if not Decimal(1) / OTHER_UNIT < factor < OTHER_UNIT:
            refused.append(
                Objection(
                    f"its amounts look like another unit: it says ${usd(found.billed_nanos)} for "
                    f"what the ledger has at ${usd(found.booked_nanos)}; give dollars, and another "
                    "currency with --rate"
                )
            )
    percent = _percent(found.extra, found.calls)
    if found.extra > MOST_EXTRA_CALLS and percent > MOST_EXTRA_PERCENT:
        refused.append(
            Objection(
                f"{found.extra} of {found.calls} calls, {percent} %, are not on it: is it the "
                "whole statement of this upstream and time?",
                percent,
            )
        )
    percent = _percent(found.changed_nanos, abs(found.sum_nanos))
    if found.changed_nanos > MOST_CHANGED_NANOS and percent > MOST_CHANGED_PERCENT:
        refused.append(
            Objection(
                f"it changes ${usd(found.changed_nanos)}, {percent} % of ${usd(found.sum_nanos)}",
                percent,
            )
        )
    return refused


def allowed(refused: Iterable[Objection], allow_percent: int | None) -> list[Objection]:
    """The objections that remain where a change of this size is allowed."""
    return [
        each
        for each in refused
        if each.percent is None or allow_percent is None or each.percent > allow_percent
    ]


def _percent(part: int, whole: int) -> int:
    """Rounded up; of nothing it is all."""
    return -(-100 * part // whole) if whole else 100
