"""What is to be bought, and how a flight that buys it can land."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.coalescing.rules.failure_memory import Remembered
from gateway.edits.edit_request import EditRequest
from gateway.model.entry import Entry
from gateway.model.errors import Refusal
from gateway.model.money import NANOS, usd
from gateway.model.reservation import Settled
from gateway.telemetry.request_record import stages_ms
from gateway.telemetry.spans import Facts


@dataclass(frozen=True, slots=True)
class CallSummary:
    """What the leader's headers and journal say of a flight, however it ended."""

    settled: Settled | None = None
    upstream_request_id: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A flight that brought an answer, for everybody who waited on it."""

    entry: Entry
    shared_body: bytes
    """With a cost of 0 and what was saved: for followers and for hits."""
    body: bytes = b""
    """As the upstream sent it: for the one who paid."""
    found: bool = False
    """It was there already when the leader looked again; nothing was bought."""
    elsewhere: bool = False
    """Another process bought it while it was waited for; here, everybody followed."""
    stored: bool = False
    not_stored_because: str = ""
    summary: CallSummary = CallSummary()


@dataclass(frozen=True, slots=True)
class Failed:
    """A flight that brought a refusal.

    `leaders_own` says that it is the leader's own trouble: a follower may try with its own
    money. `remembered`: whoever asks again gets the same for a while; `recalled`: it was given
    from that memory, without a call. `extra_digest` is the leader's: a request that sends other
    extra fields may get another answer.
    """

    refusal: Refusal
    leaders_own: bool = False
    remembered: Remembered | None = None
    recalled: bool = False
    extra_digest: str = ""
    summary: CallSummary = CallSummary()


FlightResult = Picture | Failed


def landing_facts(request: EditRequest, result: FlightResult) -> dict[str, object]:
    """What the journal says of a flight whose own request has no line left to say it in."""
    summary = result.summary
    settled = summary.settled
    return {
        "code": result.refusal.code if isinstance(result, Failed) else None,
        "stored": isinstance(result, Picture) and result.stored,
        "team": request.caller.team,
        "key_id": request.caller.key_id,
        "model": request.edit.model,
        "fingerprint": request.fingerprint.key,
        "cost_usd": usd(settled.cost_nanos) if settled else None,
        "estimated": settled.estimated if settled else None,
        "upstream_request_id": summary.upstream_request_id or None,
        "stages_ms": stages_ms(summary.stages),
    }


def span_facts(request: EditRequest, result: FlightResult) -> Facts:
    """What a flight's span says of it when it has landed."""
    settled = result.summary.settled
    return {
        "gateway.request_id": request.request_id,
        "gateway.fingerprint": request.fingerprint.key,
        "gateway.team": request.caller.team,
        "gateway.stored": isinstance(result, Picture) and result.stored,
        "gateway.cost_usd": settled.cost_nanos / NANOS if settled else None,
        "gateway.cost_estimated": settled.estimated if settled else None,
    }
