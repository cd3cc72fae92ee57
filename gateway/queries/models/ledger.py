"""The ledger, its reservations, its closed months and its verification as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from operator import not_
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from gateway.ledger.tables.ledger_rows import OpenReservation
from gateway.ledger.tables.undo import UndoPlan
from gateway.ledger.tables.unresolved_reservations import UnresolvedReservation
from gateway.model.reservation import CostKind
from gateway.queries.models.read_model import (
    Count,
    Day,
    Json,
    Moment,
    Money,
    ReadModel,
    Texts,
    read,
)


def _text_or_none(value: str) -> str | None:
    return value or None


class LedgerRowView(ReadModel):
    """A row of the ledger. A correction's cost and images are differences."""

    object: Literal["ledger_row"] = "ledger_row"
    id: str
    kind: Literal["call", "correction", "adjustment"]
    corrects: str | None
    at: Moment = read("at_ms")
    day: Day
    request_id: str
    upstream_request_id: str
    credential: str
    team: str
    key: str = read("key_id")
    model: str
    route: str
    fingerprint: str
    reference_images: Count
    body_bytes: Count
    answer_bytes: Count
    status: Count | None
    n: Count
    images: int
    cost_usd: Money = read("cost_nanos")
    estimated: bool
    owner: str
    cost_centre: str
    tags: Texts
    late_for: Day | None
    cost_kind: CostKind
    computed_usd: Annotated[
        Money | None, Field(description="What its tokens cost by the price table.")
    ] = read("computed_nanos")
    price_version: str
    text_in_tokens: int = read("text_in")
    image_in_tokens: int = read("image_in")
    cached_text_in_tokens: int = read("cached_text_in")
    cached_image_in_tokens: int = read("cached_image_in")
    text_out_tokens: int = read("text_out")
    image_out_tokens: int = read("image_out")
    upstream: str
    asked_model: Annotated[str, Field(description="The alias that was asked for, if one was.")]
    upstream_model: Annotated[str, Field(description="The upstream's name of it, if another.")]
    batch: Annotated[str, Field(description="The batch that booked it, if one did.")]
    undoes: Annotated[str, Field(description="The row that it takes back, if it takes one back.")]
    budget_day: Annotated[
        Day | None, Field(description="The day in whose budgets it counts, if another.")
    ]
    end_user: Annotated[str, Field(description="For whom the request was made, as it is kept.")]


LEDGER_COLUMNS = tuple(
    field.serialization_alias or name
    for name, field in LedgerRowView.model_fields.items()
    if name != "object"
)
"""The columns of a table of rows."""


class ClosedMonthView(ReadModel):
    """A closed month. What it holds is null until it is added up."""

    object: Literal["closed_month"] = "closed_month"
    period: str
    from_day: Day = read("first_day", name="from")
    to_day: Day = read("last_day", name="to")
    timezone: str
    closed_at: Moment = read("closed_ms")
    closed_by: str
    ledger_rows: Count | None = read("contents", "ledger_rows", default=None)
    spent_usd: Money | None = read("contents", "spent_nanos", default=None)
    corrections_usd: Money | None = read("contents", "corrections_nanos", default=None)
    saved_usd: Money | None = read("contents", "saved_nanos", default=None)
    estimated_calls: Count
    digest: str | None = read("contents", "digest", default=None)


class BatchView(ReadModel):
    """Ledger rows that were booked together, and can be taken back together."""

    object: Literal["batch"] = "batch"
    id: str
    kind: Literal["reconcile", "reprice", "correct", "undo"]
    at: Moment = read("at_ms")
    by: str = read("actor")
    reason: str
    upstream: str
    period: str
    source: str
    facts: dict[str, Any]
    ledger_rows: Count
    cost_usd: Money = read("cost_nanos")
    undone_by: str | None


class UndoView(ReadModel):
    """The rows of a batch that are taken back; their cost with the sign changed."""

    object: Literal["undo"] = "undo"
    batch: str
    ledger_rows: Count
    cost_usd: Money
    undone_by: Annotated[
        str | None, Field(description="The batch that takes it back; null where none was booked.")
    ]

    @classmethod
    def of_plan(cls, plan: UndoPlan, *, applied: bool) -> Self:
        return cls.of(
            {
                "batch": plan.batch.source,
                "ledger_rows": plan.rows,
                "cost_usd": -plan.cost_nanos,
                "undone_by": plan.batch.id if applied else None,
            }
        )


class DifferenceView(ReadModel):
    """A balance or a sum that differs from the rows below it, both in their own unit."""

    what: str
    account: str
    day: str
    booked: int
    proven: int


class VerificationView(ReadModel):
    """The balances and reports compared with the ledger's rows."""

    object: Literal["verification"] = "verification"
    agrees: Annotated[bool, BeforeValidator(not_)] = read("differences")
    differences: list[DifferenceView]
    spent_usd: Money = read("spent_nanos")
    held_usd: Money = read("held_nanos")
    estimated_usd: Money = read("estimated_nanos")
    estimated_calls: Count
    ledger_rows: Count
    open_reservations: Count
    closed_through: str | None
    requests_from: str | None


class HeldView(ReadModel):
    """Money held for a call that is neither settled nor voided."""

    id: str
    made_at: Moment = read("made_ms")
    day: Day
    request_id: str
    team: str
    key: str = read("key_id")
    model: str
    held_usd: Money = read("ceiling_nanos")
    images: Count


class _Reservation(ReadModel):
    object: Literal["reservation"] = "reservation"


class ReservationView(HeldView, _Reservation):
    """An open reservation. `abandoned`: its process is gone, and it can be resolved."""

    heartbeat_at: Moment | None
    abandoned: bool

    @classmethod
    def of_unresolved(cls, unresolved: UnresolvedReservation, *, abandoned: bool) -> Self:
        held = HeldView.of(unresolved.held).model_dump()
        return cls.of({**held, "heartbeat_at": unresolved.heartbeat_ms, "abandoned": abandoned})


class ResolutionView(ReadModel):
    """The abandoned reservations that were settled at their ceilings."""

    object: Literal["resolution"] = "resolution"
    resolved: Count
    booked_usd: Money
    reservations: list[HeldView]
    has_more: bool = False

    def row(self) -> Json:
        return self.model_dump(exclude={"object", "has_more"})

    @classmethod
    def of_settled(cls, settled: Sequence[OpenReservation], *, has_more: bool = False) -> Self:
        total_nanos = sum(held.ceiling_nanos for held in settled)
        return cls.of(
            {
                "resolved": len(settled),
                "booked_usd": total_nanos,
                "reservations": settled,
                "has_more": has_more,
            }
        )


class PriceStatusView(ReadModel):
    """A model that was stopped for an odd price, or whose price a person confirmed."""

    object: Literal["price_status"] = "price_status"
    upstream: str
    model: str
    confirmed_usd: Money | None = read("confirmed_nanos")
    stopped_usd: Annotated[
        Money | None, Field(description="What the picture cost for which it is stopped.")
    ] = read("stopped_nanos")
    stopped_at: Moment | None = read("stopped_ms")


class PriceView(ReadModel):
    """The confirmed price of one picture of a model."""

    object: Literal["price"] = "price"
    upstream: str
    model: str
    price_usd: Money

    @classmethod
    def of_confirmed(cls, upstream: str, model: str, nanos: int) -> Self:
        return cls.of({"upstream": upstream, "model": model, "price_usd": nanos})


class CorrectionView(ReadModel):
    """The cost of a request's calls before and after its correction."""

    object: Literal["correction"] = "correction"
    request_id: str
    before_usd: Money = read("before_nanos")
    cost_usd: Money = read("after_nanos")
    corrections: Count
    held_usd: Money = read("held_nanos")
    booked_in: Annotated[str | None, BeforeValidator(_text_or_none)]
    batch: Annotated[
        str | None,
        BeforeValidator(_text_or_none),
        Field(description="What `gateway ledger undo` takes back; null where nothing was booked."),
    ]
