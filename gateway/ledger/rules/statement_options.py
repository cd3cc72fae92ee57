"""What a request to reconcile says about reading its statement, beside what the settings say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation

from gateway.ledger.rules.statement_formats import Dates, Encoding, Granularity, Numbers
from gateway.ledger.rules.statement_lines import CURRENCY, Columns, StatementOptions

_COLUMNS = tuple(column.name for column in fields(Columns))


class WrongOption(ValueError):
    """An option that can't be meant, and why. Nothing was read."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How to read one statement; None and () leave what the settings say.

    `columns` are texts such as `cost=amount`, `filters` such as `service=images*`, `rates` such as
    `EUR=1.08`.
    """

    columns: Sequence[str] = ()
    filters: Sequence[str] = ()
    rates: Sequence[str] = ()
    aggregated: bool = False
    granularity: Granularity | None = None
    numbers: Numbers | None = None
    dates: Dates | None = None
    encoding: Encoding | None = None
    title_lines: int | None = None

    def applied_to(self, options: StatementOptions) -> StatementOptions:
        """These options before those of the settings. Raises WrongOption."""
        granularity = self.granularity or options.granularity
        if self.aggregated and granularity == "call":
            granularity = "day"
        lines = self.title_lines
        return replace(
            options,
            numbers=self.numbers or options.numbers,
            dates=self.dates or options.dates,
            encoding=self.encoding or options.encoding,
            title_lines=options.title_lines if lines is None else lines,
            granularity=granularity,
            columns=replace(options.columns, **_columns(self.columns)),
            filters={**options.filters, **_filters(self.filters)},
            rates=_rates(self.rates),
        )


def _columns(mapped: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for each in mapped:
        name, _, column = each.partition("=")
        if name not in _COLUMNS or not column:
            raise WrongOption(
                "column", f"{each!r} is no NAME=COLUMN with a name of {', '.join(_COLUMNS)}"
            )
        given[name] = column
    return given


def _filters(filters: Sequence[str]) -> dict[str, tuple[str, ...]]:
    given: dict[str, tuple[str, ...]] = {}
    for each in filters:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise WrongOption("where", f"{each!r} is no COLUMN=VALUE")
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
            raise WrongOption("rate", f"{each!r} is no CURRENCY=USD such as EUR=1.08")
        given[currency] = rate
    return given
