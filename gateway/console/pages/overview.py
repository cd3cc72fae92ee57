"""Overview: this month, the budgets that need attention, and what is degraded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from gateway.api.admin.token_holder import Role
from gateway.console.page import Answer, PageRequest, Rendered
from gateway.console.pages import key_overview
from gateway.console.rules.attention import notices
from gateway.console.rules.hit_share import hit_share
from gateway.console.rules.spend_chart import amounts_of, spent_over_time
from gateway.ledger.rules.spending_forecast import forecast_nanos
from gateway.model.money import nanos_of, usd
from gateway.model.windows import window
from gateway.queries.models.read_model import Json

SHOWN_GROUPS = 6


async def show(request: PageRequest) -> Answer:
    if request.visitor.caller is not None:
        return await key_overview.show(request)
    group = "key" if request.visitor.holder.role is Role.TEAM else "team"
    by_day, by_group, budgets, grants = await asyncio.gather(
        request.call("GET /usage", query={"by": "day"}),
        request.call("GET /usage", query={"by": group}),
        request.call("GET /budgets", query={"limit": "1000"}),
        request.call("GET /budgets/grants", query={"limit": "1000"}),
    )
    values = {
        "forecast_usd": _forecast(request, by_day),
        "group": group,
        "budgets": len(budgets["data"]),
        "asked": [each for each in grants["data"] if each["status"] == "asked"],
        "degraded": request.parts.operation.readiness.degraded(),
    }
    computed = await asyncio.to_thread(_computed, by_day, by_group["data"], budgets["data"])
    return Rendered("overview.html", {**values, **computed})


def _computed(by_day: Json, groups: Sequence[Json], budgets: Sequence[Json]) -> Json:
    """What takes a while with many groups and budgets."""
    days = by_day["from"], by_day["to"]
    return {
        "total": by_day["total"],
        "hit_share": hit_share(by_day["total"]),
        "days_chart": spent_over_time("day", days, amounts_of(by_day["data"])),
        "days": by_day["data"],
        "from_day": by_day["from"],
        "groups": _largest(groups),
        "notices": notices(budgets),
    }


def _forecast(request: PageRequest, usage: Json) -> str | None:
    """The month's spending at the rate so far."""
    zone = request.context.settings.zone
    spent = nanos_of(usage["total"]["spent_usd"]) or 0
    month = window("month", usage["to"], zone)
    forecast = forecast_nanos(spent, month, request.context.clock())
    return None if forecast is None else usd(forecast)


def _largest(lines: Sequence[Json]) -> list[Json]:
    """The groups that spent most, each with its share of the largest."""
    by_spending = sorted(lines, key=lambda line: -Decimal(line["spent_usd"]))[:SHOWN_GROUPS]
    largest = max((Decimal(line["spent_usd"]) for line in by_spending), default=Decimal(0))
    return [
        {**line, "part": float(Decimal(line["spent_usd"]) / largest) if largest > 0 else 0.0}
        for line in by_spending
    ]
