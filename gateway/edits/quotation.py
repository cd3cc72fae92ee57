"""What a quote says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.ledger.budget_service import Costs, Left
from gateway.model.errors import Refusal


class Would(StrEnum):
    """What would happen to the request."""

    HIT = "hit"
    """A stored result would be served."""
    JOIN = "join"
    """It would share a call that is in flight, or has just ended in another process."""
    BUY = "buy"
    """A picture would be bought."""
    REFUSED = "refused"


FREE = Costs(0, 0)


@dataclass(frozen=True, slots=True)
class Quotation:
    """What would happen to a request, and what that would cost.

    `costs` are those of the call at `upstream`; None where they are not known. `saved_nanos` is
    what the stored result has cost.
    """

    would: Would
    model: str
    fingerprint: str
    upstream: str = ""
    costs: Costs | None = None
    saved_nanos: int | None = None
    refusal: Refusal | None = None
    left: Left = field(default_factory=Left)
