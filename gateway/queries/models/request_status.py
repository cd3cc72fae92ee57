"""The status of a request as JSON: the answer of `GET /v1/requests/{id}`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.model.edit import Route
from gateway.model.outcome import Outcome
from gateway.model.reservation import CostKind
from gateway.queries.models.read_model import Count, Moment, Money, ReadModel
from gateway.queries.rules.retry_forecast import RetryOutcome


class RetryView(ReadModel):
    """What the same request would get now. `safe`: nothing is paid for twice."""

    safe: bool
    would: RetryOutcome
    seconds: Annotated[Count | None, Field(description="For how long, with `same_error`.")]
    message: str


class AcceptedView(ReadModel):
    """An asynchronous request that is running, and where its answer will be."""

    object: Literal["accepted_request"] = "accepted_request"
    id: str
    state: Literal["running"] = "running"
    result: str


class RequestView(ReadModel):
    """A request of this key. Null is not known, or not known yet."""

    object: Literal["request"] = "request"
    id: str
    state: Annotated[
        Literal["running", "lost", "ended"],
        Field(
            description="`running` while its upstream call is in flight, even if its client has "
            "left. `lost`: its process died; what was held for it is booked in full, as an "
            "estimate."
        ),
    ]
    at: Annotated[Moment | None, Field(description="When it was answered.")]
    route: Route | None
    model: str | None
    fingerprint: str | None
    outcome: Outcome | None
    status: Count | None
    code: str | None
    ms: float | None
    stages_ms: dict[str, float]
    charged: bool | None
    cost_usd: Money | None
    estimated: Annotated[
        bool, Field(description="The cost is the reserved amount, until it is corrected.")
    ]
    cost_kind: Annotated[
        CostKind | None,
        Field(description="Of the least certain of its calls; null where none is booked."),
    ]
    held_usd: Money
    saved_usd: Money
    upstream: Annotated[str | None, Field(description="The upstream of its last call.")]
    upstream_request_id: str | None
    stored: Annotated[bool, Field(description="Its picture is stored: the same edit is free.")]
    stored_until: Moment | None
    retry: RetryView
