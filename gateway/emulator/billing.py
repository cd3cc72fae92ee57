"""The provider's own books: what was charged to whom, in nano-dollars."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TypedDict

from gateway.emulator.faults import MISSING

NANOS = 1_000_000_000


class Stats(TypedDict):
    """What has reached the provider so far; `billed_usd` is exact decimal text."""

    calls: int
    billed_calls: int
    billed_usd: str
    billed_nanos: int
    in_flight: int
    models_calls: int


class StatementRow(TypedDict):
    """One charge as the statement prints it; `time` is ISO 8601 in UTC."""

    request_id: str
    time: str
    model: str
    route: str
    n: int
    cost_usd: str
    cost_nanos: int
    credential: str
    status: int
    client_request_id: str


@dataclass(frozen=True, slots=True)
class Charge:
    """One billed call. `credential` is the end of the key; `status` what was to be answered."""

    request_id: str
    time: datetime
    model: str
    route: str
    n: int
    cost_nanos: int
    credential: str
    status: int
    client_request_id: str = ""

    def row(self) -> StatementRow:
        moment = self.time.astimezone(UTC).isoformat(timespec="milliseconds")
        return {
            "request_id": self.request_id,
            "time": moment.replace("+00:00", "Z"),
            "model": self.model,
            "route": self.route,
            "n": self.n,
            "cost_usd": usd(self.cost_nanos),
            "cost_nanos": self.cost_nanos,
            "credential": self.credential,
            "status": self.status,
            "client_request_id": self.client_request_id,
        }


@dataclass(slots=True)
class Books:
    """Every call counted, every charge kept, until they are cleared."""

    calls: int = 0
    models_calls: int = 0
    in_flight: int = 0
    charges: list[Charge] = field(default_factory=list)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Counts an edit or a generation from its arrival to its end, however it ends."""
        self.calls += 1
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def stats(self) -> Stats:
        billed_nanos = sum(charge.cost_nanos for charge in self.charges)
        return {
            "calls": self.calls,
            "billed_calls": len(self.charges),
            "billed_usd": usd(billed_nanos),
            "billed_nanos": billed_nanos,
            "in_flight": self.in_flight,
            "models_calls": self.models_calls,
        }

    def statement(self) -> list[StatementRow]:
        """One row per billed call, in the order of billing."""
        return [charge.row() for charge in self.charges]

    def statement_csv(self) -> str:
        sheet = io.StringIO()
        writer = csv.DictWriter(sheet, list(StatementRow.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.statement())
        return sheet.getvalue()

    def clear(self) -> None:
        """Forget all but the calls that are still running."""
        self.calls = self.models_calls = 0
        self.charges.clear()


def billed_nanos(cost: str | None, price_nanos: int) -> int:
    """What a call costs whose answer states `cost` (JSON text): that, if it is an amount.

    Fractions of a nano-dollar are rounded up. The price stands where nothing, or nothing
    that could be charged, is stated.
    """
    if cost is None or cost == MISSING:
        return price_nanos
    amount = json.loads(cost, parse_float=Decimal)
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or amount < 0:
        return price_nanos
    return int((Decimal(amount) * NANOS).to_integral_value(ROUND_CEILING))


def usd(nanos: int) -> str:
    """An amount in dollars as exact decimal text, at least two decimals: 0.01, 12.345."""
    dollars, rest = divmod(nanos, NANOS)
    return f"{dollars}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"
