"""Budgets and their grants as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.accounts.tables.grants import Status
from gateway.model.caller import Level, Period
from gateway.queries.models.read_model import Count, Day, Moment, Money, ReadModel, read


class BudgetView(ReadModel):
    """A budget in its current window; null as a limit is unlimited, null as a moment is never."""

    object: Literal["budget"] = "budget"
    account: str
    name: Annotated[str, Field(description="organisation, TEAM or TEAM/KEY.")]
    level: Level
    limit_usd: Annotated[Money | None, Field(description="With its grants.")]
    granted_usd: Money
    period: Period
    spent_usd: Money
    held_usd: Money
    left_usd: Money | None
    forecast_usd: Annotated[
        Money | None, Field(description="Spending at the end of the window, at the rate so far.")
    ]
    needed_usd: Annotated[
        Money | None,
        Field(
            description="What one more picture needs: the amount reserved for the last one, else "
            "for the organisation's last one."
        ),
    ]
    resets_at: Moment | None
    refused_today: Annotated[Count, Field(description="Edits that it did not cover today.")]


class GrantView(ReadModel):
    """A grant, or a request for one. `until` is the last day on which it counts."""

    object: Literal["grant"] = "grant"
    id: str
    budget: Annotated[str, Field(description="organisation, TEAM or TEAM/KEY.")]
    status: Status
    usd: Money = read("nanos")
    until: Annotated[Day | None, Field(description="Null in a request to the end of the window.")]
    reason: str
    asked_by: Annotated[str, Field(description="The id of the key that asked, or empty.")]
    asked_at: Moment | None = read("asked_ms")
    granted_by: str
    granted_at: Moment | None = read("granted_ms")
    ended_at: Moment | None = read("ended_ms")
