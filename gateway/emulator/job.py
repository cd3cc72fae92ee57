"""One call of the emulated provider: its request, its faults, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.emulator.billing import Bill, billed_nanos
from gateway.emulator.faults import Knobs
from gateway.emulator.request_body import Asked


@dataclass(frozen=True, slots=True)
class Job:
    """One call: its caller, its request, its faults, and its bill by the published rates."""

    request_id: str
    credential: str
    asked: Asked
    knobs: Knobs
    client_request_id: str
    """The header `x-client-request-id`, or ""."""
    bill: Bill

    @property
    def cost_nanos(self) -> int:
        """What the call costs if it is billed."""
        return billed_nanos(self.knobs.cost, self.bill.nanos)
