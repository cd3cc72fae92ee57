"""Options of `gateway ledger reconcile`: how the statement is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

import click

from gateway.cli.options import stacked
from gateway.ledger.rules.statement_formats import Dates, Encoding, Granularity, Numbers
from gateway.ledger.rules.statement_lines import CURRENCY, Columns, StatementOptions

Change = Callable[[StatementOptions], StatementOptions]

_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option(
        "--column", "mapped", multiple=True, metavar="NAME=COLUMN",
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
    """The options, as one function `reading` that changes what the settings say."""

    @functools.wraps(command)
    def with_reading(**given: Any) -> None:
        names = ("mapped", "filters", "aggregated", "granularity", "rates")
        taken = {name: given.pop(name) for name in names}
        same = ("numbers", "dates", "encoding", "title_lines")
        plain = {name: value for name in same if (value := given.pop(name)) is not None}
        command(**given, reading=lambda options: _changed(options, plain, **taken))

    return stacked(*_OPTIONS)(with_reading)


def _changed(
    options: StatementOptions,
    plain: Mapping[str, Any],
    *,
    mapped: Sequence[str],
    filters: Sequence[str],
    aggregated: bool,
    granularity: Granularity | None,
    rates: Sequence[str],
) -> StatementOptions:
    granularity = granularity or options.granularity
    if aggregated and granularity == "call":
        granularity = "day"
    return replace(
        options,
        **plain,
        granularity=granularity,
        columns=replace(options.columns, **_columns(mapped)),
        filters={**options.filters, **_filters(filters)},
        rates=_rates(rates),
    )


def _columns(mapped: Sequence[str]) -> dict[str, str]:
    names = [column.name for column in fields(Columns)]
    given: dict[str, str] = {}
    for each in mapped:
        name, _, column = each.partition("=")
        if name not in names or not column:
            raise click.BadParameter(
                f"{each!r} is no NAME=COLUMN with a name of {', '.join(names)}",
                param_hint="--column",
            )
        given[name] = column
    return given


def _filters(filters: Sequence[str]) -> dict[str, tuple[str, ...]]:
    given: dict[str, tuple[str, ...]] = {}
    for each in filters:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{each!r} is no COLUMN=VALUE", param_hint="--where")
        given[name] = (*given.get(name, ()), value)
    return given


def _rates(rates: Sequence[str]) -> dict[str, Decimal]:
    given: dict[str, Decimal] = {}
    for each in rates:
        currency, _, text = each.partition("=")
        currency = currency.upper()
        try:
            rate = Decimal(text)
        except InvalidOperation:
            rate = Decimal(0)
        known = len(currency) == 3 and currency.isalpha() and currency != CURRENCY
        if not known or not rate.is_finite() or not 0 < rate < 10**6:
            raise click.BadParameter(
                f"{each!r} is no CURRENCY=USD such as EUR=1.08", param_hint="--rate"
            )
        given[currency] = rate
    return given
