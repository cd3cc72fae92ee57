"""The time that a statement covers, in its own time zone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.rules.statement_matching import BilledPeriod
from gateway.model.windows import day_of, days_before, month_days, start_ms


class NotCovered(ValueError):
    """The statement is not of this period, or of none."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The days that a statement is compared with, and the time within them that it covers.

    `period` is the month, if it covers one. Sums are of days in the statement's time zone, calls of
    days in the ledger's.
    """

    days: tuple[str, str]
    span: BilledPeriod
    period: str


def coverage(
    lines: Sequence[StatementLine],
    period: str | None,
    options: StatementOptions,
    zone: tzinfo,
    *,
    now_ms: int,
    edge_ms: int,
) -> Coverage:
    """What a statement with these lines covers. Raises NotCovered; `period` is a month."""
    if not lines:
        raise NotCovered(
            "it has no lines: was the file cut off, or do the filters leave all of them out? If "
            "nothing was billed, correct the calls one by one: gateway ledger correct"
        )
    first_ms, last_ms = (found(line.at_ms for line in lines) for found in (min, max))
    if period is not None:
        _check_within(lines, period, options)
    if options.aggregated:
        return _of_sums(first_ms, last_ms, period, options, now_ms)
    if period is None:
        days = day_of(first_ms, zone), day_of(last_ms, zone)
        return Coverage(days, BilledPeriod(first_ms, last_ms + 1, edge_ms), "")
    days = month_days(period)
    from_ms, until_ms = _bounds(days, options)
    if until_ms > now_ms:  # it goes on: what is there is what was billed until the last line
        until_ms = last_ms + 1
    return Coverage(days, BilledPeriod(from_ms, until_ms, edge_ms), period)


def _of_sums(
    first_ms: int, last_ms: int, period: str | None, options: StatementOptions, now_ms: int
) -> Coverage:
    """Whole days or months that are over: the sum of one that goes on is not final."""
    days = day_of(first_ms, options.zone), day_of(last_ms, options.zone)
    if options.granularity == "month":
        days = month_days(days[0][:7])[0], month_days(days[1][:7])[1]
    elif period is not None:
        first_day, last_day = month_days(period)
        is_over = _bounds((first_day, last_day), options)[1] <= now_ms
        days = first_day, last_day if is_over else days[1]
    bounds = _bounds(days, options)
    if bounds[1] > now_ms:
        raise NotCovered(
            f"it has a sum of {days[1]}, which is not over: take a statement that ends before"
        )
    month = days[0][:7] if days == month_days(days[0][:7]) else ""
    return Coverage(days, BilledPeriod(*bounds), period or month)


def _bounds(days: tuple[str, str], options: StatementOptions) -> tuple[int, int]:
    """From the start of the first day to the end of the last, in the statement's time zone."""
    return start_ms(days[0], options.zone), start_ms(days_before(days[1], -1), options.zone)


def _check_within(lines: Iterable[StatementLine], period: str, options: StatementOptions) -> None:
    from_ms, until_ms = _bounds(month_days(period), options)
    outside = [line for line in lines if not from_ms <= line.at_ms < until_ms]
    if outside:
        first, day = outside[0], day_of(outside[0].at_ms, options.zone)
        raise NotCovered(
            f"it is not of {period}: line {first.number} is of {day}, and so {len(outside)} lines "
            "are outside of that month in the statement's time zone"
        )
