"""Flights between processes: what a lease says, and whether an edit may be bought beside it.

A lease is a row of the state that every process reads: who makes the upstream call, and
afterwards how it ended. Whether its owner lives is judged by the owner's heartbeat, as the
one who looks sees it move by a clock of its own: the clocks of other machines may differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from gateway.model.edit import Fingerprint
from gateway.wire.cache_directives import Directives

FRESH = "fresh:"
_LONGEST_STEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FlightFailure:
    """How a flight failed, in a form that others can be told: bounded, and text only."""

    code: str
    status: int
    message: str
    body: str = ""
    """The upstream's own error object, where it is passed on as it came."""
    extra_digest: str = ""
    """The `Fingerprint.extra_digest` of the request that failed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One flight as the state knows it. `id` is its reservation's."""

    key: str
    id: str
    owner_id: str
    request_id: str
    started_ms: int
    until_ms: int
    """When it means nothing any more: in the air, when it must have landed; landed, when its
    picture must be stored; failed, when the failure is forgotten."""
    ended_ms: int | None = None
    failure: FlightFailure | None = None
    heartbeat_ms: int | None = None
    """When its owner was last known to live, by the owner's clock."""


class LeaseStatus(Enum):
    """What a lease means now."""

    IN_FLIGHT = "in flight"
    FINISHED = "finished"
    """Its picture is stored, or will be in a moment."""
    FAILED = "failed"
    """The failure is still remembered."""
    EXPIRED = "expired"


def status_of(lease: Lease, now_ms: int) -> LeaseStatus:
    """What a lease means now."""
    if lease.until_ms <= now_ms:
        return LeaseStatus.EXPIRED
    if lease.ended_ms is None:
        return LeaseStatus.IN_FLIGHT
    return LeaseStatus.FAILED if lease.failure else LeaseStatus.FINISHED


@dataclass(frozen=True, slots=True)
class CoalescingKey:
    """How an edit is to be bought, as far as it matters to other flights of the same edit.

    `key` is its fingerprint. `fresh`: with `no-cache`. `shared`: others may have the result, so
    that the flight takes a lease. `stores` is false with `no-store`: what is remembered as an
    answer is not given then. `retry`: an SDK's automatic one. `extra_digest`: what it sends beside.
    """

    key: str
    fresh: bool = False
    shared: bool = True
    stores: bool = True
    retry: bool = False
    extra_digest: str = ""

    @classmethod
    def of(cls, fingerprint: Fingerprint, directives: Directives) -> CoalescingKey:
        """How a request asks for its edit."""
        return cls(
            key=fingerprint.key,
            extra_digest=fingerprint.extra_digest,
            fresh=directives.no_cache,
            shared=not (directives.no_store or fingerprint.uncacheable),
            stores=not directives.no_store,
            retry=directives.retry,
        )

    @property
    def lease_key(self) -> str:
        """The key of the lease that its flight takes; empty where it takes none."""
        if not self.shared:
            return ""
        return FRESH + self.key if self.fresh else self.key

    @property
    def fresh_key(self) -> str:
        """The key of the fresh flight whose picture it may have as well; empty: of none."""
        return FRESH + self.key if self.shared and not self.fresh else ""

    @property
    def watched(self) -> tuple[str, ...]:
        """The keys whose leases may stand in its way."""
        return tuple(dict.fromkeys(key for key in (self._own, self.fresh_key) if key))

    @property
    def _own(self) -> str:
        return self.lease_key or self.key


def blocking_lease(
    coalescing_key: CoalescingKey,
    leases: Iterable[Lease],
    *,
    owner_id: str,
    ignored_ids: Collection[str],
    now_ms: int,
) -> tuple[Lease, LeaseStatus] | None:
    """The lease that stands in the way of buying this edit now, and what it means.

    `ignored_ids` are the ids of flights that were waited for in vain. `owner_id` is the asking
    process, which joins its own flights in memory: what it finds of them here is a leftover.
    """
    for lease in leases:
        found = status_of(lease, now_ms)
        if found is LeaseStatus.EXPIRED or lease.id in ignored_ids:
            continue
        mine = lease.owner_id == owner_id and lease.key == coalescing_key.lease_key
        known = mine or coalescing_key.fresh  # looked for already, or not wanted
        if found is LeaseStatus.IN_FLIGHT and coalescing_key.shared and not mine:
            return lease, found
        if lease.key == coalescing_key.fresh_key:
            continue  # that one ended well or badly for those who asked for it
        if found is LeaseStatus.FAILED and _gets(coalescing_key, lease):
            return lease, found
        if (
            found is LeaseStatus.FINISHED
            and coalescing_key.shared
            and (coalescing_key.retry or not known)
        ):
            return lease, found
    return None


def must_give_way(coalescing_key: CoalescingKey, lease: Lease) -> bool:
    """Must this lease go before the edit's own can be taken, where it is no obstacle?"""
    return lease.key == coalescing_key.lease_key or lease.ended_ms is None


def _gets(coalescing_key: CoalescingKey, lease: Lease) -> bool:
    """Does this one get a remembered failure instead of a call?

    Who says `no-cache` buys again, but an SDK's retry of that does not.
    """
    failure = lease.failure
    if coalescing_key.fresh and not coalescing_key.retry:
        return False
    if (
        failure
        and is_of_request(failure.code)
        and failure.extra_digest != coalescing_key.extra_digest
    ):
        return False
    return coalescing_key.stores or failure is None or not is_refusal(failure.code)


def is_refusal(code: str) -> bool:
    """Is this the upstream's answer to the edit itself, rather than a call that went wrong?"""
    return code == "upstream_refused"


def is_of_request(code: str) -> bool:
    """May the upstream have said so because of fields that are no part of the fingerprint?

    A `user` that it knows, say. Whoever sends others there may get another answer. What may have
    been charged is no such failure: that is about money, and shared.
    """
    return is_refusal(code) or code == "upstream_account"


class HeartbeatTracker:
    """For how long the heartbeats of others have stood still, as seen from here.

    Only time in which they were looked at counts: while the state can't be read, nobody's
    heart can be seen to beat.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, float, float]] = {}

    def silent_seconds(self, owner_id: str, heartbeat_ms: int | None, now_seconds: float) -> float:
        """Look at one, at `now_seconds` of any clock that only goes forward."""
        before, silent, at = self._seen.get(owner_id, (heartbeat_ms, 0.0, now_seconds))
        still = before == heartbeat_ms
        silent = silent + min(now_seconds - at, _LONGEST_STEP_SECONDS) if still else 0.0
        self._seen[owner_id] = (heartbeat_ms, silent, now_seconds)
        return silent

    def forget(self) -> None:
        """Begin anew: nothing could be seen for a while, or nobody is looked at any more."""
        self._seen.clear()
