"""What reports have in common: the days they are of, CSV, and a sign of life on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import click
from rich.console import Console

from gateway.cli.context import clock_of
from gateway.ledger.tables.reports import days_of_report
from gateway.model.windows import day_of
from gateway.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class DateRange:
    """The days of a report, both within, in the settings' time zone."""

    first_day: str
    last_day: str


def range_options(command: Command) -> Command:
    """`--from` and `--to`, both within; this month if neither is given."""
    command = click.option("--to", "to", default=None, help="The last day (default: today).")(
        command
    )
    return click.option(
        "--from",
        "since",
        default=None,
        help="The first day (default: the first of the last day's month, or of this one's).",
    )(command)


def range_of(settings: Settings, since: str | None, to: str | None) -> DateRange:
    """The days that were asked for; today is the state's. Raises BadParameter."""
    first, last = _day(since), _day(to)
    if first is None or last is None:
        today = day_of(clock_of(settings), settings.zone)
        first, last = days_of_report(today, settings.zone, first, last)
    return _in_order(first, last)


def open_range_of(since: str | None, to: str | None) -> DateRange:
    """The same, but without end on a side of which nothing is said. Raises BadParameter."""
    return _in_order(_day(since) or date.min.isoformat(), _day(to) or date.max.isoformat())


def _in_order(first: str, last: str) -> DateRange:
    if first > last:
        raise click.BadParameter(f"{first} is after {last}: --from comes first")
    return DateRange(first, last)


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day; write 2026-11-01") from None


def csv_option(command: Command) -> Command:
    return click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")(command)


def working(what: str) -> AbstractContextManager[object]:
    """Shows on a terminal that work is going on."""
    return Console(stderr=True).status(f"{what} …")
