"""A quote as JSON: the answer to a request with `X-Gateway-Dry-Run: true`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gateway.edits.quotation import Quotation, Would
from gateway.model.errors import Refusal
from gateway.queries.models.read_model import Count, Json, Money, ReadModel, read


def _error(refusal: object) -> object:
    return refusal.envelope()["error"] if isinstance(refusal, Refusal) else refusal


class QuoteView(ReadModel):
    """What would happen to the request: nothing was bought.

    `hit` and `join` cost nothing. For `buy`, `ceiling_usd` is what would be reserved, `likely_usd`
    what such pictures cost at most on the last day on which one was bought, and `must_wait` says
    that calls in flight hold what it needs. `error` is the refusal. Null is unlimited in `left_usd`
    and `images_left`, and not known elsewhere.
    """

    object: Literal["quote"] = "quote"
    would: Annotated[Would, Field(description="`hit`, `join`, `buy` or `refused`.")]
    model: str
    upstream: str
    fingerprint: str
    ceiling_usd: Money | None = read("costs", "ceiling_nanos", default=None)
    likely_usd: Money | None = read("costs", "likely_nanos", default=None)
    must_wait: bool = read("costs", "must_wait", default=False)
    saved_usd: Money | None = read("saved_nanos")
    left_usd: Money | None = read("left", "nanos")
    images_left: Count | None = read("left", "images")
    error: Annotated[Json | None, BeforeValidator(_error)] = read("refusal")


def quote_document(quotation: Quotation) -> dict[str, Any]:
    """The answer over HTTP."""
    return QuoteView.of(quotation).model_dump(mode="json")
