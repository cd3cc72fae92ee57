"""Whole cents for the parts of an invoice, and what the lines of a chargeback say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from gateway.model.windows import days_before, month_days

CENT_NANOS = 10_000_000
BookingDate = Literal["month_end", "next_month"]
Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class LineTemplate:
    """What every line says besides cost centre and amount.

    In `text`, {month}, {cost_centre} and {teams} stand for the line's own.
    """

    account: str
    text: str
    date: BookingDate

    def date_of(self, month: str) -> str:
        last = month_days(month)[1]
        return last if self.date == "month_end" else days_before(last, -1)

    def text_of(self, month: str, cost_centre: str, teams: str) -> str:
        filled = self.text.replace("{month}", month).replace("{cost_centre}", cost_centre)
        return filled.replace("{teams}", teams)


def in_cents(nanos: Mapping[Name, int]) -> dict[Name, int]:
    """The parts of an amount in cents that add up to it, rounded half up.

    Each part is rounded down, and the cents left go to the largest remainders, the first of equals.
    """
    cents = {name: amount // CENT_NANOS for name, amount in nanos.items()}
    left = (sum(nanos.values()) + CENT_NANOS // 2) // CENT_NANOS - sum(cents.values())
    for name in sorted(nanos, key=lambda name: -(nanos[name] % CENT_NANOS))[:left]:
        cents[name] += 1
    return cents


def added(parts: Iterable[Mapping[Name, int]]) -> dict[Name, int]:
    """The sums of several mappings."""
    sums: dict[Name, int] = {}
    for part in parts:
        for name, number in part.items():
            sums[name] = sums.get(name, 0) + number
    return sums
