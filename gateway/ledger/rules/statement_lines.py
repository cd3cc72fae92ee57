"""The upstream's statement: its lines, and their sums by call."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Literal

from gateway.model.money import nanos_of

CURRENCY = "USD"
MOST_NANOS = 10**15
"""A million dollars, the maximum of one line: no sum can overflow."""
MOST_IMAGES = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"\d{10}(\.\d+)?|\d{13}", re.ASCII)
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


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line: a charge, or a credit if it is negative.

    `request_id` is the upstream's id, `client_request_id` ours; either may be "".
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
    number: int, fields: Mapping[str, object], columns: Columns, zone: tzinfo
) -> StatementLine:
    """A line from its fields: text, or values of JSON read with `parse_float=Decimal`.

    Times without an offset are in `zone`. Fractions of a nano-dollar are rounded up, as in the
    ledger. Raises BadLine.
    """
    currency = _text(number, fields, columns.currency)
    if currency.upper() not in ("", CURRENCY):
        raise BadLine(f"line {number}: the amount is in {currency}; the ledger is in {CURRENCY}")
    return StatementLine(
        number=number,
        request_id=_text(number, fields, columns.request_id),
        client_request_id=_text(number, fields, columns.client_request_id),
        at_ms=_moment(number, fields, columns.time, zone),
        cost_nanos=_amount(number, fields, columns.cost),
        model=_text(number, fields, columns.model),
        route=_text(number, fields, columns.route),
        n=_count(number, fields, columns.images, MOST_IMAGES) or 1,
        credential=_text(number, fields, columns.credential),
        status=_count(number, fields, columns.status, 999),
    )


def sum_up(lines: Iterable[StatementLine], duplicates: Duplicates = "refuse") -> StatementTotals:
    """The lines of each call added together: a charge and its credit note are one amount.

    Repeated lines are refused (raises RepeatedLines), counted once, or added.
    """
    kept, repeated = _unrepeated(list(lines), duplicates)
    calls: dict[tuple[str, str], list[StatementLine]] = {}
    adjustments: list[StatementLine] = []
    for line in kept:
        if line.request_id or line.client_request_id:
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


def _text(number: int, fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    text = "" if value is None else str(value).strip()
    if len(text) > 200 or _UNPRINTABLE.search(text):
        raise BadLine(f"line {number}: {name} is no line of text of up to 200 characters")
    return text


def _amount(number: int, fields: Mapping[str, object], name: str) -> int:
    """Signed nano-dollars."""
    value = fields.get(name)
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    negative = text.startswith("-")
    nanos = nanos_of(text.removeprefix("-") if negative else text)
    if nanos is None or text.startswith(("-+", "--")) or nanos > MOST_NANOS:
        raise BadLine(
            f"line {number}: {name} is {text!r}, which is no amount in dollars, such as 0.04 "
            "or -0.04"
        )
    return -nanos if negative else nanos


def _moment(number: int, fields: Mapping[str, object], name: str, zone: tzinfo) -> int:
    """Unix milliseconds of an ISO 8601 time, or of unix seconds or milliseconds."""
    text = str(fields.get(name) or "").strip()
    try:
        if _UNIX.fullmatch(text):
            return int(Decimal(text) * (1 if len(text) == 13 and "." not in text else 1000))
        moment = datetime.fromisoformat(text)
        if not 1970 <= moment.year <= 9000:
            raise ValueError  # too near the ends of the calendar for arithmetic
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError, InvalidOperation):
        raise BadLine(
            f"line {number}: {name} is {text!r}, which is no time such as 2026-11-25T12:00:00Z"
        ) from None


def _count(number: int, fields: Mapping[str, object], name: str, most: int) -> int | None:
    text = str(fields.get(name) or "").strip()
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) > most:
        raise BadLine(f"line {number}: {name} is {text!r}, which is no number up to {most}")
    return int(text)
