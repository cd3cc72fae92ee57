"""The result of an upstream call with its retries, and the result of a flight."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.cache.result_store import Stored
from gateway.coalescing.rules.failure_memory import Remembered
from gateway.edits.edit_request import EditRequest
from gateway.model.errors import Refusal
from gateway.model.money import NANOS, usd
from gateway.model.reservation import Settled, Settlement
from gateway.telemetry.request_record import stages_ms
from gateway.telemetry.spans import SpanAttributes
from gateway.upstream.call import Answer
from gateway.upstream.rules.call_verdict import NOT_ATTEMPTED, CallVerdict
from gateway.wire.answer import ParsedAnswer


@dataclass(frozen=True, slots=True)
class Answered:
    """The upstream answered with pictures."""

    settlement: Settlement
    answer: Answer
    parsed: ParsedAnswer


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The call brought no picture.

    `settlement` None means that the request provably never left: the reservation is voided.
    """

    refusal: Refusal
    settlement: Settlement | None
    verdict: CallVerdict = NOT_ATTEMPTED


CallResult = Answered | CallFailed


@dataclass(frozen=True, slots=True)
class Found:
    """A stored result was found. Nothing was bought."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Bought:
    """A paid call answered."""

    shared: Stored
    """For followers and later hits: states a cost of 0, and what was saved."""
    body: bytes
    """As the upstream sent it, for the request that paid."""
    settled: Settled
    not_stored_because: str = ""
    """Empty if the result was stored."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Another process bought it while this one waited."""

    stored: Stored


class FailureScope(Enum):
    """Which requests a failure concerns."""

    LEADER = "leader"
    """The leader alone, such as a lack of money: a follower tries next."""
    SHARED = "shared"
    """Every request on the flight."""
    RECALLED = "recalled"
    """Given from memory, without a flight."""


@dataclass(frozen=True, slots=True)
class Failed:
    """No result: a refusal of the gateway or of the upstream.

    `extra_digest` is the leader's: a request that sends other extra fields may get another
    answer. `settled` is None if nothing was charged.
    """

    refusal: Refusal
    scope: FailureScope = FailureScope.SHARED
    remembered: Remembered | None = None
    extra_digest: str = ""
    settled: Settled | None = None
    upstream_request_id: str = ""


FlightResult = Found | Bought | Followed | Failed


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
        "cost_kind": settled.cost_kind if settled else None,
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
        "gateway.cost_kind": settled.cost_kind if settled else None,
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
