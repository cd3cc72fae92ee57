"""A year of made-up traffic at five upstreams, reconciled with a statement in each of five forms.

What was booked agrees with each statement, every month closes without force, wrong files are
refused before anything changes, and undoing everything restores every balance.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from pathlib import Path
from random import Random

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database, Transaction
from gateway.ledger.rules.statement_limits import allowed
from gateway.ledger.rules.statement_lines import Columns, StatementOptions
from gateway.ledger.rules.statement_period import NotCovered
from gateway.ledger.statements.file import Unreadable
from gateway.ledger.statements.previews import Inquiry, preview
from gateway.ledger.statements.reading import BadLines, read_statement
from gateway.ledger.tables import reserve_settle
from gateway.ledger.tables.close_month import closings
from gateway.ledger.tables.statement_comparison import Source
from gateway.ledger.tables.verify import verify
from gateway.model.money import usd
from gateway.model.reservation import CallFacts, Settlement
from gateway.model.windows import month_days, start_ms
from gateway.pricing.rules.ceilings import Quote
from tests.ledger.tables.test_close_month import close
from tests.support.funds import CENT, DAY_MS, Till, caller
from tests.support.statements import book_statement, money_in, undo_batch

CALLERS = tuple(
    caller(team, key, cost_centre=f"cc-{team}")
    for team, key in (("design", "k1"), ("design", "k2"), ("press", "k3"), ("shop", "k4"))
)
MONTHS = [f"2025-{month:02}" for month in range(1, 13)]
EURO = Decimal("1.08")
MODEL = "gpt-image-1"
SHORT = pytest.param(3, 3, id="short")
LONG = pytest.param(12, 40, id="long", marks=pytest.mark.long)


@dataclass(frozen=True)
class Billed:
    """A call that an upstream billed: when, its id, and the amount in nano-dollars."""

    at_ms: int
    name: str
    nanos: int

    @property
    def midnight_ms(self) -> int:
        return self.at_ms // DAY_MS * DAY_MS


Bill = Sequence[Billed]


@dataclass(frozen=True)
class Form:
    """A form of statement: the file of a month's bill, and how it is read."""

    write: Callable[[Bill, str], str | bytes]
    options: StatementOptions


def by_day(bill: Bill) -> Iterator[tuple[int, int]]:
    for midnight_ms in sorted({each.midnight_ms for each in bill}):
        yield midnight_ms, sum(each.nanos for each in bill if each.midnight_ms == midnight_ms)


def openai_csv(bill: Bill, _month: str) -> str:
    """Several line items a day, one of another service, and a total."""
    sheet = io.StringIO("start_time,amount_value,amount_currency,line_item,project_id\n")
    sheet.seek(0, io.SEEK_END)
    for midnight_ms, nanos in by_day(bill):
        for part, kind in ((nanos // 3, "text input"), (nanos - nanos // 3, "image output")):
            sheet.write(f'{midnight_ms // 1000},{usd(part)},usd,"{MODEL}, {kind}",p\n')
        sheet.write(f'{midnight_ms // 1000},3.5,usd,"gpt-5-nano, input",p\n')
    total = sum(each.nanos for each in bill) + 3_500_000_000 * len(list(by_day(bill)))
    sheet.write(f"TOTAL,{usd(total)},usd,,\n")
    return sheet.getvalue()


def openai_json(bill: Bill, _month: str) -> str:
    buckets = [
        {
            "object": "bucket",
            "start_time": midnight_ms // 1000,
            "end_time": (midnight_ms + DAY_MS) // 1000,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": float(usd(nanos)), "currency": "usd"},
                    "line_item": f"{MODEL}-2025-04-23, image output",
                    "project_id": None,
                }
            ],
        }
        for midnight_ms, nanos in by_day(bill)
    ]
    return json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None})


def azure_csv(bill: Bill, _month: str) -> str:
    sheet = [
        "Cost details",
        "Date,CostInBillingCurrency,BillingCurrencyCode,MeterCategory,MeterName",
    ]
    for midnight_ms, nanos in by_day(bill):
        day = datetime.fromtimestamp(midnight_ms / 1000, UTC).strftime("%m/%d/%Y")
        euros = (Decimal(nanos) / 10**9 / EURO).quantize(Decimal("0.000001"), ROUND_UP)
        sheet.append(f'{day},"{euros:,}",EUR,Azure OpenAI,gpt image 1 output glbl Tokens')
        sheet.append(f"{day},88.10,EUR,Storage,Hot LRS Data Stored")
    return "\n".join(sheet) + "\n"


def month_total(bill: Bill, month: str) -> bytes:
    """One amount in a German spreadsheet."""
    cents = -(-sum(each.nanos for each in bill) // CENT)
    amount = f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))
    return f"Rechnung\n\nMonat;Betrag\n01.{month[5:]}.{month[:4]};{amount} $\n".encode("utf-16")


def deepshi_csv(bill: Bill, _month: str) -> str:
    """Per call, with a fee and a credit note."""
    sheet = ["request_id,time,cost_usd,line_item"]
    sheet += [f"{each.name},{each.at_ms},{usd(each.nanos)}," for each in bill]
    sheet.append(f",{bill[0].at_ms},0.25,platform fee")
    sheet.append(f"{bill[0].name},{bill[0].at_ms},-0.001,goodwill")
    return "\n".join(sheet) + "\n"


_OPENAI = Columns(time="start_time", cost="amount_value", currency="amount_currency")
FORMS = {
    "openai-csv": Form(
        openai_csv,
        StatementOptions(
            columns=_OPENAI, granularity="day", filters={"line_item": (f"{MODEL}*",)}
        ),
    ),
    "openai-json": Form(
        openai_json,
        StatementOptions(
            columns=replace(_OPENAI, cost="amount.value", currency="amount.currency"),
            granularity="day",
        ),
    ),
    "azure": Form(
        azure_csv,
        StatementOptions(
            columns=Columns(
                time="Date", cost="CostInBillingCurrency", currency="BillingCurrencyCode",
                line_item="MeterName",
            ),
            granularity="day", numbers="us", dates="us", title_lines=1, rates={"EUR": EURO},
            filters={"MeterCategory": ("Azure OpenAI",)}, models={"gpt image 1*": MODEL},
        ),
    ),
    "total": Form(
        month_total,
        StatementOptions(
            columns=Columns(time="Monat", cost="Betrag"), granularity="month", numbers="german",
            dates="german", title_lines=2, encoding="utf-16",
        ),
    ),
    "deepshi": Form(deepshi_csv, StatementOptions()),
}  # fmt: skip


@dataclass
class Year:
    """The books of a year, and what every upstream bills for each month."""

    till: Till
    folder: Path
    bills: dict[tuple[str, str], list[Billed]] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.till.database

    async def buy(self, months: Sequence[str], calls: int) -> None:
        """Traffic whose ledger differs from the bill: estimates, wrong prices, lost answers."""
        random = Random(15)

        async def month_of_calls(tx: Transaction, month: str) -> None:
            for upstream in FORMS:
                bill = self.bills.setdefault((upstream, month), [])
                for number in range(calls):
                    at_ms = start_ms(f"{month}-{random.randint(1, 28):02}", UTC)
                    at_ms += random.randint(3_600_000, DAY_MS - 3_600_000)
                    name = f"{upstream}-{month}-{number}"
                    cost = random.randint(1, 9 * CENT)
                    known = None if number % 5 == 1 else cost
                    await self._call(tx, upstream, name, known, at_ms, random)
                    bill.append(Billed(at_ms, f"up-{name}", cost + random.choice((0, 0, 1_234))))

        for month in months:
            await self.database.write(lambda tx, month=month: month_of_calls(tx, month))  # type: ignore[misc]

    async def _call(
        self, tx: Transaction, upstream: str, name: str, cost: int | None, at_ms: int,
        random: Random,
    ) -> None:  # fmt: skip
        facts = CallFacts(f"req-{name}", MODEL, upstream=upstream)
        quote = Quote(random.choice(CALLERS), facts, 9 * CENT, 1)
        when = {"now_ms": at_ms, "zone": UTC}
        await reserve_settle.hold(
            tx,
            quote,
            ceiling_nanos=9 * CENT,
            reservation_id=name,
            owner_id="p",
            **when,  # type: ignore[arg-type]
        )
        await reserve_settle.settle(tx, name, Settlement(cost, 200, f"up-{name}"), **when)  # type: ignore[arg-type]

    def inquiry(
        self, upstream: str, period: str, content: str | bytes, form: Form | None = None
    ) -> Inquiry:
        file = self.folder / "statement"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        options = (form or FORMS[upstream]).options
        statement = read_statement(file, options)
        source = Source(upstream, statement.digest, UTC)
        return Inquiry(
            statement=statement, options=options, source=source, period=period, edge_ms=600_000
        )

    def file(self, upstream: str, month: str) -> str | bytes:
        return FORMS[upstream].write(self.bills[upstream, month], month)

    async def reconcile(self, upstream: str, month: str, by: Author) -> None:
        inquiry = self.inquiry(upstream, month, self.file(upstream, month))
        _, batch = await book_statement(self.database, inquiry, by)
        self.batches.append(batch.id)
        assert await self.booked(upstream, month) == inquiry.statement.total_nanos
        assert (await preview(self.database, inquiry, by.now_ms)).comparison.changes == 0

    async def booked(self, upstream: str, month: str) -> int:
        """What the ledger has of a month at this upstream, whenever it was booked."""
        rows = await self.database.read(
            lambda tx: tx.fetch(
                "SELECT CAST(COALESCE(SUM(cost_nanos), 0) AS BIGINT) AS nanos FROM ledger "
                "WHERE upstream = $1 AND COALESCE(late_for, day) >= $2 "
                "AND COALESCE(late_for, day) <= $3",
                *(upstream, *month_days(month)),
            )
        )
        return int(rows[0]["nanos"])

    async def rows(self) -> int:
        found = await self.database.read(lambda tx: tx.fetch("SELECT COUNT(*) AS n FROM ledger"))
        return int(found[0]["n"])


@pytest.fixture
async def year(database: Database, tmp_path: Path) -> Year:
    return Year(await Till(database).open(callers=CALLERS), tmp_path)


def after(month: str) -> Author:
    return Author("finance", start_ms(month_days(month)[1], UTC) + 5 * DAY_MS, f"bills of {month}")


@pytest.mark.parametrize(("months", "calls"), [SHORT, LONG])
async def test_twelve_months_agree_with_their_statements_and_undo_restores_every_balance(
    year: Year, months: int, calls: int
) -> None:
    await year.buy(MONTHS[:months], calls)
    before, spent = await money_in(year.database), (await year.till.proven()).spent_nanos
    for month in MONTHS[:months]:
        for upstream in FORMS:
            await year.reconcile(upstream, month, after(month))
        await close(year.till, month, after(month))  # without force: no cost is an estimate
    assert (await year.till.proven()).estimated_calls == 0

    revised = year.bills["deepshi", MONTHS[0]]
    revised[1] = replace(revised[1], nanos=revised[1].nanos + 77)
    await year.reconcile("deepshi", MONTHS[0], after(MONTHS[months - 1]))
    closed = await year.database.read(closings)
    for batch in reversed(year.batches):
        await undo_batch(year.database, batch, after(MONTHS[months - 1]))
    found = await year.database.read(verify)
    assert (found.differences, found.spent_nanos) == ((), spent)
    assert await money_in(year.database) == before
    assert (await year.database.read(closings), len(closed)) == (closed, months)


@pytest.fixture
async def january(year: Year) -> Year:
    await year.buy(MONTHS[:2], 30)
    return year


WRONG: dict[str, Callable[[Year], Inquiry]] = {
    "another month's": lambda y: y.inquiry("deepshi", "2025-01", y.file("deepshi", "2025-02")),
    "another upstream's": lambda y: y.inquiry(
        "deepshi", "2025-01", deepshi_csv([replace(b, name="x" + b.name)
        for b in y.bills["azure", "2025-01"]], "2025-01")
    ),
    "a header alone": lambda y: y.inquiry(
        "deepshi", "2025-01", str(y.file("deepshi", "2025-01")).splitlines()[0] + "\n"
    ),
    "cut off": lambda y: y.inquiry(
        "deepshi", "2025-01", "\n".join(str(y.file("deepshi", "2025-01")).splitlines()[:16])
    ),
    "sums without --aggregated": lambda y: y.inquiry(
        "openai-csv", "2025-01", y.file("openai-csv", "2025-01"),
        replace(FORMS["openai-csv"], options=replace(
            FORMS["openai-csv"].options, granularity="call"))
    ),
    "micro-dollars": lambda y: y.inquiry(
        "deepshi", "2025-01", deepshi_csv(
            [replace(b, nanos=b.nanos * 10**6) for b in y.bills["deepshi", "2025-01"]], "")
    ),
    "cents, as sums": lambda y: y.inquiry(
        "openai-csv", "2025-01", openai_csv(
            [replace(b, nanos=b.nanos * 100) for b in y.bills["openai-csv", "2025-01"]], "")
    ),
    "not its total": lambda y: y.inquiry(
        "openai-csv", "2025-01", str(y.file("openai-csv", "2025-01")).replace("TOTAL,", "TOTAL,1")
    ),
    "other services' lines": lambda y: y.inquiry(
        "openai-csv", "2025-01", y.file("openai-csv", "2025-01"),
        replace(FORMS["openai-csv"], options=replace(FORMS["openai-csv"].options, filters={}))
    ),
    "one page of several": lambda y: y.inquiry(
        "openai-json", "2025-01",
        str(y.file("openai-json", "2025-01")).replace('"has_more": false', '"has_more": true')
    ),
    "euros without a rate": lambda y: y.inquiry(
        "azure", "2025-01", y.file("azure", "2025-01"),
        replace(FORMS["azure"], options=replace(FORMS["azure"].options, rates={}))
    ),
    "US dates as German": lambda y: y.inquiry(
        "azure", "2025-01", y.file("azure", "2025-01"),
        replace(FORMS["azure"], options=replace(FORMS["azure"].options, dates="german"))
    ),
    "UTF-16 unsaid": lambda y: y.inquiry(
        "total", "2025-01", y.file("total", "2025-01"),
        replace(FORMS["total"], options=replace(FORMS["total"].options, encoding="utf-8"))
    ),
}  # fmt: skip


async def test_every_wrong_file_is_refused_before_anything_changed(january: Year) -> None:
    before = (await money_in(january.database), await january.rows())
    accepted = []
    for name, wrong in WRONG.items():
        try:
            found = await preview(january.database, wrong(january), after("2025-02").now_ms)
        except (Unreadable, BadLines, NotCovered):
            continue
        if not allowed(found.refused, None):
            accepted.append(name)
    assert accepted == []
    assert (await money_in(january.database), await january.rows()) == before
    await january.reconcile("deepshi", "2025-01", after("2025-01"))  # the right one is not
