"""Usage reports as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from gateway.queries.models.read_model import (
    Count,
    CountByName,
    Day,
    Json,
    Money,
    MoneyByName,
    ReadModel,
    Share,
    optional,
    read,
)


def _sorted(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(sorted(values.items()))


class UsageLineView(ReadModel):
    """A line of a usage report; `groups` has its group in each dimension.

    By key, `name` is TEAM/NAME.
    """

    group: str
    groups: dict[str, str]
    calls: Count
    hits: Count
    coalesced: Count
    outcomes: Annotated[CountByName, BeforeValidator(_sorted)]
    errors: Count
    error_share: Share
    paid_calls: int
    images: int
    spent_usd: Money = read("spent_nanos")
    estimated_calls: int
    estimated_usd: Money = read("estimated_nanos")
    estimated_share: Share
    corrections_usd: Money = read("corrections_nanos")
    saved_usd: Money = read("saved_nanos")
    saved_usd_by_cause: Annotated[MoneyByName, BeforeValidator(_sorted)] = read("saved")
    name: str | None = optional()


class BorrowingView(ReadModel):
    """Stored results that a team used and another team had paid for."""

    team: str
    paid_by_team: str
    uses: Count
    saved_usd: Money = read("saved_nanos")


class UsageView(ReadModel):
    """A usage report of one grouping; `total` is left out with `by=paid_by`.

    `notes` say what could not be split by a dimension.
    """

    object: Literal["list"] = "list"
    by: str
    from_day: Day = read(name="from")
    to_day: Day = read(name="to")
    team: str | None
    timezone: str
    data: list[UsageLineView | BorrowingView]
    total: UsageLineView | None = optional()
    notes: tuple[str, ...] = ()
    has_more: bool = False
    next: str | None = None

    def document(self) -> Json:
        """Made line by line, so that in a thread it lets the event loop have its turn."""
        lines = [line.document() for line in self.data]
        return {**self.model_copy(update={"data": []}).model_dump(), "data": lines}
