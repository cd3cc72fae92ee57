"""Gauges of money as the state has booked it, the same in every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from operator import attrgetter

from gateway.database.database import Transaction
from gateway.ledger.tables.lifetime_sums import (
    MoneySums,
    first_booking_ms,
    key_names,
    money_sums,
)
from gateway.model.money import NANOS
from gateway.model.windows import day_of, days_before
from gateway.telemetry.metrics import Metrics, families

FIRST_DAY, LAST_DAY = "0000-01-01", "9999-12-31"
PAST_MS = 600_000
"""Sums of days before yesterday are read this often: only corrections change them."""
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MoneyReading:
    """What the state has booked, in one snapshot."""

    sums: Sequence[MoneySums]
    key_names: Mapping[str, str]
    first_booking_ms: int | None

    def first_booked(self, column: str) -> Iterable[str]:
        """The names of a column by the day of their first booking, then by name."""
        days_and_names = set(map(attrgetter("first_day", column), self.sums))
        return (name for _, name in sorted(days_and_names))


class MoneyGauges:
    """Reads what was spent, estimated and saved. A reading's cost does not grow with the past."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._past: tuple[str, int, Sequence[MoneySums]] = ("", 0, ())
        """The sums of the days before this one, and when they were read."""

    async def read(self, tx: Transaction, now_ms: int) -> MoneyReading:
        yesterday = days_before(day_of(now_ms, self._zone), 1)
        until, read_ms, past = self._past
        if until != yesterday or now_ms - read_ms >= PAST_MS:
            past = await money_sums(tx, FIRST_DAY, yesterday)
            self._past = yesterday, now_ms, past
        return MoneyReading(
            [*past, *await money_sums(tx, yesterday, LAST_DAY)],
            await key_names(tx),
            await first_booking_ms(tx),
        )


def set_money(metrics: Metrics, reading: MoneyReading) -> None:
    """Set the gauges to a reading."""
    _set_sums(metrics, reading)
    if reading.first_booking_ms is not None:
        metrics.set_shared(families.LEDGER_START, {(): reading.first_booking_ms / 1000})


def _set_sums(metrics: Metrics, reading: MoneyReading) -> None:
    """Add up per labels: names beyond the label limits share one series.

    The labels follow from the reading alone, so every process exposes the same series.
    """
    teams = metrics.shared_labels("team", reading.first_booked("team"))
    models = metrics.shared_labels("model", reading.first_booked("model"))
    key_ids = metrics.shared_labels("key", reading.first_booked("key_id"))
    spent, estimated, saved, pictures, key_spent, key_saved = (Counter[Labels]() for _ in range(6))
    keys: dict[Labels, float] = {}
    for each in reading.sums:
        team, model = teams.if_known(each.team), models.if_known(each.model)
        key = key_ids.if_known(each.key_id)
        keys[key, reading.key_names.get(key, key)] = 1
        if each.cause:
            saved[team, model, each.cause] += each.saved_nanos
            key_saved[team, key] += each.saved_nanos
        else:
            spent[team, model] += each.spent_nanos
            estimated[team, model] += each.estimated_nanos
            pictures[team, model] += each.images
            key_spent[team, key] += each.spent_nanos
    for family, nanos in (
        (families.LEDGER_SPENT, spent),
        (families.LEDGER_ESTIMATED, estimated),
        (families.LEDGER_SAVED, saved),
        (families.LEDGER_KEY_SPENT, key_spent),
        (families.LEDGER_KEY_SAVED, key_saved),
    ):
        metrics.set_shared(family, {labels: amount / NANOS for labels, amount in nanos.items()})
    metrics.set_shared(families.LEDGER_PICTURES, pictures)
    metrics.set_shared(families.KEY_INFO, keys)
