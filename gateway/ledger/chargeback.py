"""The chargeback of months: what each cost centre is charged, in cents that add up to the invoices.

An upstream's invoice of a month is what was booked for it in that month, rounded to cents. Its
cents are shared out among the cost centres, and a line adds up those of all upstreams.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.database.database import Transaction
from gateway.ledger.rules.chargeback import CENT_NANOS, LineTemplate, added, in_cents
from gateway.ledger.tables.usage_sums import SumsOf, call_sums
from gateway.model.money import usd

COLUMNS = (
    "month", "posting_date", "account", "cost_centre", "amount_usd", "currency", "text", "teams",
    "exact_usd",
)  # fmt: skip
ANY_NUMBER = 10**9


@dataclass(frozen=True, slots=True, order=True)
class ChargedTo:
    """A cost centre, or before all of them a team that has none."""

    cost_centre: str
    team: str = ""


@dataclass(frozen=True, slots=True)
class ChargebackLine:
    """What one cost centre, or a team without one, is charged for a month."""

    month: str
    payer: ChargedTo
    teams: tuple[str, ...]
    cents: int
    exact_nanos: int

    def row(self, template: LineTemplate) -> dict[str, object]:
        teams = " ".join(self.teams)
        return {
            "month": self.month,
            "posting_date": template.date_of(self.month),
            "account": template.account,
            "cost_centre": self.payer.cost_centre,
            "amount_usd": cents_text(self.cents),
            "currency": "USD",
            "text": template.text_of(self.month, self.payer.cost_centre, teams),
            "teams": teams,
            "exact_usd": usd(self.exact_nanos),
        }


def cents_text(cents: int) -> str:
    """An amount with two decimals."""
    return usd(cents * CENT_NANOS) if cents else "0.00"


async def chargeback(
    tx: Transaction, first_day: str, last_day: str, upstream: str
) -> list[ChargebackLine]:
    """The lines of these months; `upstream` is that of rows that name none.

    Teams without a cost centre come first in each month.
    """
    of = SumsOf(first_day, last_day, "", ANY_NUMBER)
    columns = ("month", "cost_centre", "team", "upstream")
    invoices: defaultdict[str, dict[str, dict[ChargedTo, int]]] = defaultdict(dict)
    teams: defaultdict[tuple[str, ChargedTo], set[str]] = defaultdict(set)
    for row in await call_sums(tx, columns, of):
        payer = ChargedTo(row["cost_centre"], "" if row["cost_centre"] else row["team"])
        invoice = invoices[row["month"]].setdefault(row["upstream"] or upstream, {})
        invoice[payer] = invoice.get(payer, 0) + row["spent_nanos"]
        teams[row["month"], payer].add(row["team"])
    return [
        ChargebackLine(month, payer, tuple(sorted(teams[month, payer])), cents, nanos)
        for month, of_month in sorted(invoices.items())
        for payer, cents, nanos in _shared_out(of_month)
    ]


def _shared_out(invoices: dict[str, dict[ChargedTo, int]]) -> Iterator[tuple[ChargedTo, int, int]]:
    ordered = [dict(sorted(invoice.items())) for invoice in invoices.values()]
    exact, cents = added(ordered), added(map(in_cents, ordered))
    for payer in sorted(exact):
        if exact[payer] or cents[payer]:
            yield payer, cents[payer], exact[payer]
