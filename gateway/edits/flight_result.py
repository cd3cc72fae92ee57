"""The result of an upstream call with its retries, and the result of a flight."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.cache.result_store import Stored
from gateway.cache.rules.entry import Entry
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
    error: str = ""
    """Why there was no connection, for the operator."""


BOUGHT_NOTHING = frozenset(
    {"overloaded", "upstream_account", "upstream_busy", "upstream_unreachable"}
)
"""Codes of what an upstream can do without a charge: its circuit is open or its queue full, it
refuses the account, it is busy (429, 503), it can't be reached."""

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
    answer. `settled` is None if nothing was charged. `fingerprint` and `upstream` are those of the
    target at which the edit failed.
    """

    refusal: Refusal
    scope: FailureScope = FailureScope.SHARED
    remembered: Remembered | None = None
    extra_digest: str = ""
    settled: Settled | None = None
    upstream_request_id: str = ""
    fingerprint: str = ""
    upstream: str = ""

    @property
    def bought_nothing(self) -> bool:
        """Provably so, by the upstream's state alone: another target may be tried."""
        charged = self.settled and (self.settled.cost_nanos > 0 or self.settled.estimated)
        return self.refusal.code in BOUGHT_NOTHING and not (charged or self.remembered)


FlightResult = Found | Bought | Followed | Failed


def log_facts(request: EditRequest, result: FlightResult) -> dict[str, object]:
    """For a flight whose client has left, and whose request therefore has no log line."""
    settled = settled_of(result)
    return {
        "code": result.refusal.code if isinstance(result, Failed) else None,
        "stored": is_stored(result),
        "team": request.caller.team,
        "key_id": request.caller.key_id,
        "model": request.target.model,
        "upstream": upstream_of(result) or None,
        "fingerprint": fingerprint_of(result) or request.fingerprint.key,
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
        "gateway.fingerprint": fingerprint_of(result) or request.fingerprint.key,
        "gateway.upstream": upstream_of(result) or None,
        "gateway.team": request.caller.team,
        "gateway.stored": is_stored(result),
        "gateway.cost_usd": settled.cost_nanos / NANOS if settled else None,
        "gateway.cost_kind": settled.cost_kind if settled else None,
    }


def settled_of(result: FlightResult) -> Settled | None:
    """What the flight's upstream call cost; None if nothing was charged."""
    return result.settled if isinstance(result, Bought | Failed) else None


def fingerprint_of(result: FlightResult) -> str:
    """The fingerprint of the edit at the target that the result is from."""
    if isinstance(result, Failed):
        return result.fingerprint
    return (result.shared if isinstance(result, Bought) else result.stored).entry.key


def upstream_of(result: FlightResult) -> str:
    """The name of the upstream that the result is from; empty where that is not known."""
    if isinstance(result, Failed):
        return result.upstream
    return (result.shared if isinstance(result, Bought) else result.stored).entry.upstream


def is_stored(result: FlightResult) -> bool:
    if isinstance(result, Bought):
        return not result.not_stored_because
    return not isinstance(result, Failed)


def stored_entry(result: FlightResult) -> Entry | None:
    """The entry of the result, if it is stored."""
    if isinstance(result, Failed) or not is_stored(result):
        return None
    return (result.shared if isinstance(result, Bought) else result.stored).entry


def upstream_request_id(result: FlightResult) -> str:
    """The id of the upstream call that the flight made; empty if it made none."""
    if isinstance(result, Bought):
        return result.shared.entry.upstream_request_id
    return result.upstream_request_id if isinstance(result, Failed) else ""
