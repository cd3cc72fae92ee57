"""The upstream's statement: its lines, and their sums by call."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, tzinfo
from decimal import ROUND_UP, Decimal
from fnmatch import fnmatchcase
from hashlib import blake2b
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal

from gateway.ledger.rules.statement_formats import (
    DATE_EXAMPLES,
    NUMBER_EXAMPLES,
    Dates,
    Encoding,
    Granularity,
    Numbers,
    amount_of,
    moment_of,
)
from gateway.model.money import NANOS

CURRENCY = "USD"
MOST_NANOS = 10**15
"""A million dollars, the maximum of one line: no sum can overflow."""
MOST_IMAGES = 1_000
_MOST_QUOTED = 80

_TOTAL_WORDS = frozenset(
    ("total", "totals", "grand total", "total cost", "sum", "summe", "gesamt", "gesamtsumme")
)
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

Duplicates = Literal["refuse", "once", "add"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The statement's names for the columns read; only `cost` and `time` are required."""

    request_id: str = "request_id"
    client_request_id: str = "client_request_id"
    time: str = "time"
    cost: str = "cost_usd"
    currency: str = "currency"
    model: str = "model"
    route: str = "route"
    images: str = "n"
    credential: str = "credential"
    status: str = "status"
    line_item: str = "line_item"
    line_id: str = "line_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOptions:
    """How a statement is read.

    `filters` are columns and the values of the lines that count. `models` are the ledger's models
    by the statement's names of them; both may hold wildcards. `zone` is that of times without an
    offset, and of the statement's days. `rates` are dollars by currency.
    """

    columns: Columns = Columns()
    granularity: Granularity = "call"
    numbers: Numbers = "plain"
    dates: Dates = "iso"
    encoding: Encoding = "utf-8"
    title_lines: int = 0
    zone: tzinfo = UTC
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rates: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def aggregated(self) -> bool:
        """Are its lines sums, instead of calls?"""
        return self.granularity != "call"


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line: a charge, or a credit if it is negative.

    `request_id` is the upstream's id, `client_request_id` ours; either may be "". `line_item` is
    the type of the charge, `line_id` its own id. `said` is a digest of all of its columns.
    """

    number: int
    request_id: str
    client_request_id: str
    at_ms: int
    cost_nanos: int
    model: str = ""
    route: str = ""
    n: int = 1
    credential: str = ""
    status: int | None = None
    line_item: str = ""
    line_id: str = ""
    currency: str = CURRENCY
    said: str = ""

    @property
    def names_call(self) -> bool:
        return bool(self.request_id or self.client_request_id)


@dataclass(frozen=True, slots=True)
class BilledCall:
    """The statement's cost of one call: the sum of its lines. `line` is the first of them."""

    line: StatementLine
    cost_nanos: int
    parts: tuple[StatementLine, ...] = ()
    """The lines, if there are several."""

    @property
    def request_id(self) -> str:
        return self.line.request_id

    @property
    def client_request_id(self) -> str:
        return self.line.client_request_id


@dataclass(frozen=True, slots=True)
class StatementTotals:
    """A statement. `adjustments` are lines without a call, and credits without their charge."""

    calls: tuple[BilledCall, ...]
    adjustments: tuple[StatementLine, ...]
    lines: int
    total_nanos: int
    first_ms: int | None
    last_ms: int | None
    repeated: int
    """The number of lines that repeat an earlier line exactly."""


class BadLine(ValueError):
    """A line that cannot be read; the message has its number and the reason."""


class RepeatedLines(ValueError):
    """Lines that repeat an earlier line exactly."""


def parse_line(
    number: int, fields: Mapping[str, object], options: StatementOptions
) -> StatementLine:
    """A line from its fields: text, or values of JSON read with `parse_float=Decimal`.

    Fractions of a nano-dollar are rounded up, as in the ledger. Raises BadLine.
    """
    columns = options.columns
    cost_nanos, currency = _amount(number, fields, options)
    return StatementLine(
        number=number,
        request_id=_text(number, fields, columns.request_id),
        client_request_id=_text(number, fields, columns.client_request_id),
        at_ms=_moment(number, fields, options),
        cost_nanos=cost_nanos,
        model=_text(number, fields, columns.model),
        route=_text(number, fields, columns.route),
        n=_count(number, fields, columns.images, MOST_IMAGES) or 1,
        credential=_text(number, fields, columns.credential),
        status=_count(number, fields, columns.status, 999),
        line_item=_text(number, fields, columns.line_item),
        line_id=_text(number, fields, columns.line_id),
        currency=currency,
        said=blake2b(repr(sorted(fields.items())).encode(), digest_size=12).hexdigest(),
    )


def is_total(fields: Mapping[str, object], columns: Columns) -> bool:
    """Is this the row that says what the others add up to? It has such a word, and no time."""
    time = _plain(fields, columns.time).rstrip(":").casefold()
    if time and time not in _TOTAL_WORDS:
        return False
    return any(
        str(value).strip().rstrip(":").casefold() in _TOTAL_WORDS for value in fields.values()
    )


def counts(fields: Mapping[str, object], filters: Mapping[str, tuple[str, ...]]) -> bool:
    """Is this a line of our service?"""
    return all(
        any(fnmatchcase(_plain(fields, name), wanted) for wanted in values)
        for name, values in filters.items()
    )


def sum_up(lines: Iterable[StatementLine], duplicates: Duplicates = "refuse") -> StatementTotals:
    """The lines of each call added together: a charge and its credit note are one amount.

    Repeated lines are refused (raises RepeatedLines), counted once, or added.
    """
    kept, repeated = _unrepeated(list(lines), duplicates)
    calls: dict[tuple[str, str], list[StatementLine]] = {}
    adjustments: list[StatementLine] = []
    for line in kept:
        if line.names_call:
            # An upstream id is never taken for one of ours.
            name = (line.request_id, "" if line.request_id else line.client_request_id)
            calls.setdefault(name, []).append(line)
        else:
            adjustments.append(line)
    billed = _split(calls.values(), adjustments)
    times = [line.at_ms for line in kept]
    return StatementTotals(
        calls=_in_order(billed),
        adjustments=_by_number(adjustments),
        lines=len(kept),
        total_nanos=sum(line.cost_nanos for line in kept),
        first_ms=min(times, default=None),
        last_ms=max(times, default=None),
        repeated=repeated,
    )


def move_to_adjustments(
    statement: StatementTotals, booked: Collection[StatementLine]
) -> StatementTotals:
    """The statement with these lines of its calls, booked as adjustments before, moved there.

    The rest of a call stays a call, or becomes adjustments too if its sum is below 0.
    """
    moved = {id(line) for line in booked}
    calls: list[BilledCall] = []
    changed: list[list[StatementLine]] = []
    adjustments = list(statement.adjustments)
    for billed in statement.calls:
        rest = [line for line in billed.parts if id(line) not in moved]
        if len(rest) == len(billed.parts):
            calls.append(billed)
        else:
            changed.append(rest)
            adjustments += [line for line in billed.parts if id(line) in moved]
    calls += _split(filter(None, changed), adjustments)
    return replace(statement, calls=_in_order(calls), adjustments=_by_number(adjustments))


def _split(
    calls: Iterable[list[StatementLine]], adjustments: list[StatementLine]
) -> list[BilledCall]:
    """The calls of these lines; lines with a sum below 0 are added to the adjustments instead."""
    billed: list[BilledCall] = []
    for lines in calls:
        total = sum(line.cost_nanos for line in lines)
        if total < 0:
            adjustments += lines
        else:
            billed.append(BilledCall(_first(lines), total, tuple(lines) if len(lines) > 1 else ()))
    return billed


def _by_number(lines: Iterable[StatementLine]) -> tuple[StatementLine, ...]:
    return tuple(sorted(lines, key=lambda line: line.number))


def _in_order(calls: Iterable[BilledCall]) -> tuple[BilledCall, ...]:
    return tuple(sorted(calls, key=lambda each: (each.line.at_ms, each.line.number)))


def _first(lines: Sequence[StatementLine]) -> StatementLine:
    """The first line in time, with our id if any line has it."""
    first = min(lines, key=lambda line: (line.at_ms, line.number))
    ours = next((line.client_request_id for line in lines if line.client_request_id), "")
    return replace(first, client_request_id=ours)


def _unrepeated(
    lines: list[StatementLine], duplicates: Duplicates
) -> tuple[list[StatementLine], int]:
    counted = Counter(_said(line) for line in lines if line.request_id)
    again = {said: times for said, times in counted.items() if times > 1}
    if not again or duplicates == "add":
        return lines, sum(times - 1 for times in again.values())
    if duplicates == "refuse":
        numbers = [line.number for line in lines if _said(line) in again]
        shown = ", ".join(str(number) for number in numbers[:10])
        more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
        raise RepeatedLines(f"lines {shown}{more} are there more than once, word for word")
    seen: set[tuple[object, ...]] = set()
    kept: list[StatementLine] = []
    for line in lines:
        said = _said(line)
        if said not in seen or said not in again:
            kept.append(line)
        seen.add(said)
    return kept, len(lines) - len(kept)


_said = attrgetter(*(column.name for column in fields(StatementLine) if column.name != "number"))
"""The content of a line, without its number."""


def _plain(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else str(value).strip()


def _text(number: int, fields: Mapping[str, object], name: str) -> str:
    text = _plain(fields, name)
    if len(text) > 200 or _UNPRINTABLE.search(text):
        raise BadLine(f"line {number}: {name} is no line of text of up to 200 characters")
    return text


def line_nanos(number: int, fields: Mapping[str, object], options: StatementOptions) -> int:
    """The amount of a line that is not read otherwise, in nano-dollars. Raises BadLine."""
    return _amount(number, fields, options)[0]


def _amount(
    number: int, fields: Mapping[str, object], options: StatementOptions
) -> tuple[int, str]:
    """Signed nano-dollars, and the currency that they were in."""
    name, named = options.columns.cost, _plain(fields, options.columns.currency).upper()
    value = fields.get(name)
    text = "" if isinstance(value, bool) else _plain(fields, name)
    if not text and options.aggregated and value in (None, ""):
        return 0, named or CURRENCY  # a day without costs
    try:
        # Numbers of JSON are written in one way.
        amount, said = amount_of(text, options.numbers if isinstance(value, str) else "plain")
    except ValueError:
        raise BadLine(
            f"line {number}: {name} is {_quoted(text)}, which is no amount in dollars, such as "
            f"{NUMBER_EXAMPLES[options.numbers]}{_other_ways('numbers', NUMBER_EXAMPLES)}"
        ) from None
    if named and said and named != said:
        raise BadLine(f"line {number}: {name} is {text!r}, and its currency is {named}")
    currency = named or said or CURRENCY
    nanos = amount * _rate(number, currency, options.rates) * NANOS
    if abs(nanos) > MOST_NANOS:
        raise BadLine(f"line {number}: {name} is {text!r}: one line is at most $1,000,000")
    return int(nanos.to_integral_value(ROUND_UP)), currency


def _rate(number: int, currency: str, rates: Mapping[str, Decimal]) -> Decimal:
    if currency == CURRENCY:
        return Decimal(1)
    if currency not in rates:
        raise BadLine(
            f"line {number}: the amount is in {currency}; the ledger is in {CURRENCY}. Say what "
            f"one is worth, such as --rate {currency}=1.08"
        )
    return rates[currency]


def _moment(number: int, fields: Mapping[str, object], options: StatementOptions) -> int:
    text = _plain(fields, options.columns.time)
    try:
        return moment_of(text, options.dates, options.zone)
    except (ValueError, OverflowError):
        raise BadLine(
            f"line {number}: {options.columns.time} is {_quoted(text)}, which is no time such as "
            f"{DATE_EXAMPLES[options.dates]}{_other_ways('dates', DATE_EXAMPLES)}"
        ) from None


def _quoted(text: str) -> str:
    """The text for a message; of a long one the beginning."""
    return repr(text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}…")


def _other_ways(option: str, examples: Mapping[Any, str]) -> str:
    """The hint that another way of writing is to be said."""
    return f"; other ways are --{option} {', '.join(list(examples)[1:])}"


def _count(number: int, fields: Mapping[str, object], name: str, most: int) -> int | None:
    text = _plain(fields, name)
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) > most:
        raise BadLine(f"line {number}: {name} is {_quoted(text)}, which is no number up to {most}")
    return int(text)
