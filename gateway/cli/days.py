"""What reports have in common: the days they are of, CSV, and a sign of life on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import click
from rich.console import Console

from gateway.clock import now_ms
from gateway.rules.windows import day_of
from gateway.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Range:
    """The days of a report, both within, in the settings' time zone."""

    first_day: str
    last_day: str


def range_options(command: Command) -> Command:
    """`--from` and `--to`, both within; this month if neither is given."""
    command = click.option("--to", "to", default=None, help="The last day (default: today).")(
        command
    )
    return click.option(
        "--from", "since", default=None, help="The first day (default: that month's first)."
    )(command)


def range_of(settings: Settings, since: str | None, to: str | None) -> Range:
    """The days that were asked for. Raises BadParameter."""
    last = _day(to) if to else date.fromisoformat(day_of(now_ms(), settings.zone))
    first = _day(since) if since else last.replace(day=1)
    if first > last:
        raise click.BadParameter(f"{first} is after {last}: --from comes first")
    return Range(first.isoformat(), last.isoformat())


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day; write 2026-11-01") from None


def csv_option(command: Command) -> Command:
    return click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")(command)


def working(what: str) -> AbstractContextManager[object]:
    """Shows on a terminal that work is going on."""
    return Console(stderr=True).status(f"{what} …")
