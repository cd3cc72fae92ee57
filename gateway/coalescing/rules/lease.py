"""A lease: one flight as every process sees it in the state, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class FlightFailure:
    """How a flight failed, as stored for other processes: bounded, and text only."""

    code: str
    status: int
    message: str
    body: str = ""
    """The upstream's own error object, where it is passed on unchanged."""
    extra_digest: str = ""
    """The `Fingerprint.extra_digest` of the request that failed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`id` is the reservation's."""

    key: str
    id: str
    owner_id: str
    request_id: str
    started_ms: int
    until_ms: int
    """When it expires. In flight: the latest end of the flight. Finished: by when the result is
    stored. Failed: when the failure is forgotten."""
    ended_ms: int | None = None
    failure: FlightFailure | None = None
    heartbeat_ms: int | None = None
    """The owner's last heartbeat, by the owner's clock."""


class LeaseStatus(Enum):
    IN_FLIGHT = "in flight"
    FINISHED = "finished"
    """Its result is stored, or will be in a moment."""
    FAILED = "failed"
    """The failure is still remembered."""
    EXPIRED = "expired"


def status_of(lease: Lease, now_ms: int) -> LeaseStatus:
    if lease.until_ms <= now_ms:
        return LeaseStatus.EXPIRED
    if lease.ended_ms is None:
        return LeaseStatus.IN_FLIGHT
    return LeaseStatus.FAILED if lease.failure else LeaseStatus.FINISHED
