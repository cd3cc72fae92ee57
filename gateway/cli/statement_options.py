"""Options of `gateway ledger reconcile`: how the statement is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, get_args

import click

from gateway.cli.options import stacked
from gateway.ledger.rules.statement_formats import Dates, Encoding, Granularity, Numbers
from gateway.ledger.rules.statement_options import ReadingOptions

_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option(
        "--column", "columns", multiple=True, metavar="NAME=COLUMN",
        help="Name of a column in the statement, as in [statement]: cost=amount. Repeatable.",
    ),
    click.option(
        "--where", "filters", multiple=True, metavar="COLUMN=VALUE",
        help="Only lines with this value, in which * stands for anything. Repeatable: values of "
        "one column are alternatives.",
    ),
    click.option(
        "--aggregated", is_flag=True,
        help="The lines are sums by day (and model or line item), not calls.",
    ),
    click.option(
        "--granularity", type=click.Choice(get_args(Granularity)), default=None,
        help="What a line is about; day and month are --aggregated.",
    ),
    click.option(
        "--rate", "rates", multiple=True, metavar="CURRENCY=USD",
        help="Dollars for one unit of the statement's currency: EUR=1.08. Kept with the batch.",
    ),
    click.option(
        "--numbers", type=click.Choice(get_args(Numbers)), default=None,
        help="How amounts are written: 1234.50, $1,234.50 or 1.234,50.",
    ),
    click.option(
        "--dates", type=click.Choice(get_args(Dates)), default=None,
        help="How times are written: 2026-11-25T12:00:00Z, 11/25/2026 or 25.11.2026.",
    ),
    click.option("--encoding", type=click.Choice(get_args(Encoding)), default=None),
    click.option(
        "--title-lines", type=click.IntRange(0, 1000), default=None,
        help="Number of lines before the columns' names.",
    ),
)  # fmt: skip


def statement_options(command: Any) -> Any:
    """The options, as one `reading`."""

    @functools.wraps(command)
    def with_reading(**given: Any) -> None:
        names = [field.name for field in fields(ReadingOptions)]
        reading = ReadingOptions(**{name: given.pop(name) for name in names})
        command(**given, reading=reading)

    return stacked(*_OPTIONS)(with_reading)
