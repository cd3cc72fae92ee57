"""The status of a request as JSON, and lists of requests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.model.edit import Route
from gateway.model.outcome import Outcome
from gateway.model.reservation import CostKind
from gateway.queries.models.ledger import LedgerRowView
from gateway.queries.models.read_model import Count, Moment, Money, ReadModel, read
from gateway.queries.rules.retry_forecast import RetryOutcome


def _ms(took: object) -> object:
    """Microseconds as milliseconds."""
    return took / 1000 if isinstance(took, int) else took


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


class _Request(ReadModel):
    object: Literal["request"] = "request"
    id: str


class RequestView(_Request):
    """A request of this key. Null is not known, or not known yet."""

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


class RequestDetailView(RequestView):
    """A request, with who made it and its rows of the ledger."""

    team: str
    key: str
    end_user: str
    ledger: list[LedgerRowView]


class RequestLineView(_Request):
    """A line of a list of requests. `cost_usd` is what is booked for it so far."""

    at: Moment = read("at_ms")
    team: str
    key: str = read("key_id")
    key_name: str
    end_user: str
    route: Route
    model: str
    outcome: Outcome
    status: Count
    code: str
    ms: Annotated[float, BeforeValidator(_ms)] = read("took_us")
    cost_usd: Money = read("cost_nanos")
    saved_usd: Money = read("saved_nanos")
