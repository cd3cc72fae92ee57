"""The books of the emulated provider: what was charged to whom, in nano-dollars."""

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
    """The calls so far; `billed_usd` is exact decimal text."""

    calls: int
    billed_calls: int
    billed_usd: str
    billed_nanos: int
    in_flight: int
    models_calls: int


class Charge(TypedDict):
    """One billed call, a row of the statement.

    `time` is ISO 8601 in UTC, `credential` the end of the key, `status` that of the answer.
    """

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
class Rates:
    """The published rates of a model, in nano-dollars per token."""

    text_in: int
    image_in: int
    image_out: int
    text_out: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a call, by kind."""

    text_in: int = 0
    image_in: int = 0
    image_out: int = 0
    text_out: int = 0

    @property
    def input(self) -> int:
        return self.text_in + self.image_in

    @property
    def output(self) -> int:
        return self.image_out + self.text_out

    def cost_nanos(self, rates: Rates) -> int:
        return (
            self.text_in * rates.text_in
            + self.image_in * rates.image_in
            + self.image_out * rates.image_out
            + self.text_out * rates.text_out
        )


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call costs, and the tokens where the provider counts them."""

    nanos: int
    tokens: Tokens = Tokens()


@dataclass(slots=True)
class Books:
    """Counts every call and keeps every charge, in the order of billing."""

    calls: int = 0
    models_calls: int = 0
    in_flight: int = 0
    charges: list[Charge] = field(default_factory=list)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count an edit or a generation from its arrival to its end."""
        self.calls += 1
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def stats(self) -> Stats:
        billed = sum(charge["cost_nanos"] for charge in self.charges)
        return {
            "calls": self.calls,
            "billed_calls": len(self.charges),
            "billed_usd": usd(billed),
            "billed_nanos": billed,
            "in_flight": self.in_flight,
            "models_calls": self.models_calls,
        }

    def statement_csv(self) -> str:
        sheet = io.StringIO()
        writer = csv.DictWriter(sheet, list(Charge.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.charges)
        return sheet.getvalue()

    def clear(self) -> None:
        """Forget all but the calls in flight."""
        self.calls = self.models_calls = 0
        self.charges.clear()


def billed_nanos(cost: str | None, price_nanos: int) -> int:
    """The charge for a call whose answer states `cost` (JSON text): that, if it is an amount.

    Fractions of a nano-dollar are rounded up. Else it is the price.
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


def time_text() -> str:
    """The current time in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
