"""The result of a flight: `Found`, `Bought`, `Followed` or `Failed`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.cache.result_store import Stored
from gateway.coalescing.rules.failure_memory import Remembered
from gateway.model.errors import Refusal
from gateway.model.reservation import Settled


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
