"""What the event log and the trace say of a flight."""

from __future__ import annotations

from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Bought, Failed, FlightResult
from gateway.model.money import NANOS, usd
from gateway.model.reservation import Settled
from gateway.telemetry.request_record import stages_ms
from gateway.telemetry.spans import SpanAttributes


def log_facts(request: EditRequest, result: FlightResult) -> dict[str, object]:
    """For a flight whose client has left, and whose request therefore has no log line."""
    settled = settled_of(result)
    return {
        "code": result.refusal.code if isinstance(result, Failed) else None,
        "stored": is_stored(result),
        "team": request.caller.team,
        "key_id": request.caller.key_id,
        "model": request.edit.model,
        "fingerprint": request.fingerprint.key,
        "cost_usd": usd(settled.cost_nanos) if settled else None,
        "estimated": settled.estimated if settled else None,
        "upstream_request_id": upstream_request_id(result) or None,
        "stages_ms": stages_ms(request.flight_stages),
    }


def span_facts(request: EditRequest, result: FlightResult) -> SpanAttributes:
    settled = settled_of(result)
    return {
        "gateway.request_id": request.request_id,
        "gateway.fingerprint": request.fingerprint.key,
        "gateway.team": request.caller.team,
        "gateway.stored": is_stored(result),
        "gateway.cost_usd": settled.cost_nanos / NANOS if settled else None,
        "gateway.cost_estimated": settled.estimated if settled else None,
    }


def settled_of(result: FlightResult) -> Settled | None:
    """What the flight's upstream call cost; None if nothing was charged."""
    return result.settled if isinstance(result, Bought | Failed) else None


def is_stored(result: FlightResult) -> bool:
    if isinstance(result, Bought):
        return not result.not_stored_because
    return not isinstance(result, Failed)


def upstream_request_id(result: FlightResult) -> str:
    """The id of the upstream call that the flight made; empty if it made none."""
    if isinstance(result, Bought):
        return result.shared.entry.upstream_request_id
    return result.upstream_request_id if isinstance(result, Failed) else ""
