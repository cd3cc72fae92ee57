"""Spend: a usage report of any dimension and days, as a chart, a table and CSV."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from gateway.api.admin.token_holder import Role
from gateway.console.forms import Form
from gateway.console.page import Answer, Attachment, PageRequest, Rendered
from gateway.console.rules.bar_chart import BarChart
from gateway.console.rules.hit_share import hit_share
from gateway.console.rules.spend_chart import (
    SPENT,
    TIMES,
    Amount,
    amounts_of,
    grouping_over_time,
    spent_over_time,
)
from gateway.ledger.rules.usage_grouping import COLUMNS, TAG
from gateway.model.errors import Refusal
from gateway.model.money import usd
from gateway.model.windows import days_before, window
from gateway.queries.models.read_model import Json
from gateway.queries.usage_report import PAID_BY

ROUTE, PATH = "GET /usage", "/console/spend"
MOST_ROWS = 500
"""The most lines of the table; CSV has all."""


@dataclass(frozen=True, slots=True)
class Period:
    """A link to the same report of other days."""

    name: str
    href: str
    is_shown: bool


async def show(request: PageRequest) -> Answer:
    asked = _asked(request.query)
    form = Form({"by": "team", "tag": "", "team": "", "from": "", "to": "", **request.query})
    try:
        report = await request.call(ROUTE, query=asked)
        chart = await _chart(request, report, asked)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        return Rendered("spend.html", _page(request, form.failed(refusal)), refusal.status)
    days = {"from": report["from"], "to": report["to"]}
    form = Form({**form.values, **days})
    link = urlencode({**asked, **days})
    return Rendered(
        "spend.html",
        {
            **_page(request, form, report),
            "report": report,
            "rows": await asyncio.to_thread(_rows, report),
            "cut": max(0, len(report["data"]) - MOST_ROWS),
            "chart": chart,
            "link_to_share": f"{request.base_url}{PATH}?{link}",
            "csv": f"{PATH}.csv?{link}",
        },
    )


async def download(request: PageRequest) -> Answer:
    """The report as CSV, in the style that the query asks for."""
    query = _asked(request.query)
    text = await request.csv(ROUTE, query)
    days = "-".join(filter(None, (query.get("from"), query.get("to"))))
    return Attachment(text.encode(), "text/csv; charset=utf-8", f"spend-{days or 'month'}.csv")


def _asked(query: Mapping[str, str]) -> dict[str, str]:
    """The query of the report; an empty field is not given, and a tag is a dimension."""
    given = {name: text.strip() for name, text in query.items() if text.strip()}
    tag = given.pop("tag", "")
    if given.get("by", "") == TAG.rstrip(":"):
        given["by"] = f"{TAG}{tag}"
    return {"by": "team", **given}


def _page(request: PageRequest, form: Form, report: Json | None = None) -> dict[str, Any]:
    """What the page has with and without a report."""
    return {
        "form": form,
        "dimensions": [*((name, name.replace("_", " ")) for name in COLUMNS),
                       ("tag", "a tag"), (PAID_BY, "paid by others")],
        "periods": _periods(request, form, report),
        "may_choose_team": request.visitor.holder.role is not Role.TEAM,
        "report": None,
    }  # fmt: skip


def _periods(request: PageRequest, form: Form, report: Json | None) -> list[Period]:
    today = request.parts.budgets.service.today
    zone = request.context.settings.zone
    this = window("month", today, zone).first_day
    before = days_before(this, 1)
    spans = {
        "This month": (this, today),
        "Last month": (window("month", before, zone).first_day, before),
        "7 days": (days_before(today, 6), today),
        "30 days": (days_before(today, 29), today),
        "This year": (f"{today[:4]}-01-01", today),
    }
    shown = (report["from"], report["to"]) if report else None
    kept = form.filled("by", "tag", "team")
    return [
        Period(name, f"?{urlencode({**kept, 'from': first, 'to': last})}", shown == (first, last))
        for name, (first, last) in spans.items()
    ]


async def _chart(request: PageRequest, report: Json, asked: Mapping[str, str]) -> BarChart | None:
    by, days = report["by"], (report["from"], report["to"])
    if by == PAID_BY or "," in by:
        return None
    if by in TIMES:
        return await asyncio.to_thread(spent_over_time, by, days, amounts_of(report["data"]))
    grouping = grouping_over_time(by, len(report["data"]), *days)
    try:
        spent = await request.spent({**asked, "by": grouping})
    except Refusal as refusal:
        if refusal.param != "by":
            raise
        return None  # more sums than a report may have: the table alone
    names = {line["group"]: line.get("name") or line["group"] for line in report["data"]}
    amounts = (
        Amount(bar, names.get("".join(group), SPENT), Decimal(usd(nanos)))
        for (bar, *group), nanos in spent.items()
    )
    return await asyncio.to_thread(spent_over_time, grouping.partition(",")[0], days, amounts)


def _rows(report: Json) -> list[Json]:
    """The lines of the table, times in order, all else by spending."""
    if report["by"] == PAID_BY:
        return list(report["data"][:MOST_ROWS])
    lines = [{**line, "hit_share": hit_share(line)} for line in report["data"]]
    if report["by"].partition(",")[0] not in TIMES:
        lines.sort(key=lambda line: -Decimal(line["spent_usd"]))
    largest = max((Decimal(line["spent_usd"]) for line in lines), default=Decimal(0))
    days = {"from": report["from"], "to": report["to"]}
    return [
        {
            **line,
            "shown": _name(line, report["by"], days),
            "part": float(Decimal(line["spent_usd"]) / largest) if largest > 0 else 0.0,
        }
        for line in lines[:MOST_ROWS]
    ]


def _name(line: Json, by: str, days: Mapping[str, str]) -> object:
    """The name of a line; that of a team leads to its keys, that of a day to its teams."""
    name = line.get("name") or line["group"]
    if by == "team":
        return {"text": name, "href": f"?{urlencode({'by': 'key', 'team': name, **days})}"}
    if by == "day":
        return {"text": name, "href": f"?{urlencode({'by': 'team', 'from': name, 'to': name})}"}
    return name
