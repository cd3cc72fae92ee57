"""Which lease, of a flight in any process, keeps a request from buying now."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gateway.coalescing.rules.coalescing_key import FRESH, CoalescingKey
from gateway.coalescing.rules.lease import Lease, LeaseStatus, status_of


def blocking_lease(
    coalescing_key: CoalescingKey,
    leases: Iterable[Lease],
    *,
    owner_id: str,
    ignored_ids: Collection[str],
    now_ms: int,
) -> tuple[Lease, LeaseStatus] | None:
    """The lease because of which this edit is not bought now, and its status.

    `ignored_ids` are flights that were waited for in vain. `owner_id` is this process, which
    joins its own flights in memory: a lease of its own that is found here is left over.
    """
    key = coalescing_key
    for lease in leases:
        status = status_of(lease, now_ms)
        if status is LeaseStatus.EXPIRED or lease.id in ignored_ids:
            continue
        if key.fresh and lease.key == key.key and status is not LeaseStatus.FAILED:
            continue  # a fresh request shares no plain flight, only its failure
        own = lease.owner_id == owner_id and lease.key == key.lease_key
        if status is LeaseStatus.IN_FLIGHT and key.shared and not own:
            return lease, status
        if lease.key == key.fresh_key:
            continue  # a plain request does not share how a fresh flight ended
        if status is LeaseStatus.FAILED and _gets_failure(key, lease):
            return lease, status
        looked_up = own or key.fresh  # its result was not found, or is not wanted
        if status is LeaseStatus.FINISHED and key.shared and (key.retry or not looked_up):
            return lease, status
    return None


def blocking_elsewhere(
    coalescing_key: CoalescingKey,
    leases: Iterable[Lease],
    *,
    owner_id: str,
    ignored_ids: Collection[str],
    now_ms: int,
) -> tuple[Lease, LeaseStatus] | None:
    """The lease at another target because of which this edit is not bought now, and its status."""
    key = coalescing_key
    for lease in leases:
        status, is_fresh = status_of(lease, now_ms), lease.key.startswith(FRESH)
        if status is LeaseStatus.EXPIRED or lease.id in ignored_ids:
            continue
        if status is LeaseStatus.FAILED:
            if not is_fresh and _gets_failure(key, lease):
                return lease, status
            continue
        if not key.shares_elsewhere or (key.fresh and not is_fresh):
            continue
        looked_up = lease.owner_id == owner_id or is_fresh
        if status is LeaseStatus.IN_FLIGHT or key.retry or not looked_up:
            return lease, status
    return None


def is_replaced(coalescing_key: CoalescingKey, lease: Lease) -> bool:
    """Must this lease, which does not block, be removed before the edit's own is taken?"""
    of_fresh = lease.key == coalescing_key.fresh_key and lease.ended_ms is None
    return of_fresh or lease.key == coalescing_key.lease_key


def result_key(lease: Lease) -> str:
    """The fingerprint of the result that a lease's flight stores."""
    return lease.key.removeprefix(FRESH)


def _gets_failure(key: CoalescingKey, lease: Lease) -> bool:
    """A request for another try buys again after a failure; an SDK's retry of that does not."""
    if lease.failure is None or (key.past_failures and not key.retry):
        return False
    code = lease.failure.code
    return key.shares_failure(code, lease.failure.extra_digest) and key.recalls(code)
