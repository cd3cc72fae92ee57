"""Following a flight of another process, whose lease blocks this one's purchase.

The result comes through the result store, a failure with the lease. Nothing is written to the
state meanwhile. If there is nothing left to wait for, the edit is bought after all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.cache.result_store import ResultStore, Stored
from gateway.cache.rules.entry import may_serve
from gateway.coalescing.lease_transaction import Blocked, LeaseTransaction
from gateway.coalescing.lease_watcher import LeaseEnd, LeaseWatcher
from gateway.coalescing.rules.blocking_leases import result_key
from gateway.coalescing.rules.failure_memory import refusal_of, remembered_of
from gateway.coalescing.rules.lease import Lease, LeaseStatus
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Failed, FailureScope, Followed
from gateway.telemetry.log import EventLog
from gateway.upstream.rules.refusals import refusal_while_closing


@dataclass(frozen=True, kw_only=True, slots=True)
class Follower:
    """Waits for flights of other processes."""

    lease_watcher: LeaseWatcher
    results: ResultStore
    log: EventLog
    now_ms: Callable[[], int]

    async def follow(
        self, request: EditRequest, own: LeaseTransaction, blocked: Blocked
    ) -> Followed | Failed | None:
        """The result of the blocking flight, or None: try again to lead.

        Raises `shutting_down` if this process ends first.
        """
        lease = blocked.lease
        if blocked.status is LeaseStatus.FAILED:
            return _failed(request, lease, FailureScope.RECALLED)
        if blocked.status is LeaseStatus.IN_FLIGHT:
            ended = await self.lease_watcher.end_of(lease)
            lease = ended.lease
            match ended.how:
                case LeaseEnd.FINISHED:
                    pass
                case LeaseEnd.FAILED:
                    return _failed(request, lease, FailureScope.SHARED)
                case LeaseEnd.SHUTTING_DOWN:
                    raise refusal_while_closing()
                case LeaseEnd.OWNER_LOST:
                    self._take_over(request, own, lease)
                    return None
                case _:
                    return None
        stored = await self._wait_for_result(request, lease)
        if stored is None:
            own.ignored_ids.add(lease.id)
            return None
        return Followed(stored)

    def _take_over(self, request: EditRequest, own: LeaseTransaction, lease: Lease) -> None:
        own.ignored_ids.add(lease.id)
        self.log.warning(
            "a flight is taken over from a process without a heartbeat",
            taken_over=lease.request_id,
            fingerprint=result_key(lease),
            owner=lease.owner_id,
        )

    async def _wait_for_result(self, request: EditRequest, lease: Lease) -> Stored | None:
        """The result of a finished flight, which may still be on its way to the store."""
        key, hidden, last_look = result_key(lease), True, False
        clock = asyncio.get_running_loop().time
        deadline = clock() + (lease.until_ms - (lease.ended_ms or lease.until_ms)) / 1000
        while True:
            stored = await self.results.get(key)
            if stored and self._may_serve(request, lease, stored):
                return stored
            if stored and hidden and stored.entry.created_ms < lease.started_ms:
                hidden = False  # this machine's copy of an older result hid the new one
                await self.results.drop_local_copy(key, lease.started_ms)
            elif last_look or clock() >= deadline:
                return None
            else:  # the owner removes the lease if nothing could be stored
                last_look = (await self.lease_watcher.end_of(lease)).how is not LeaseEnd.FINISHED

    def _may_serve(self, request: EditRequest, lease: Lease, stored: Stored) -> bool:
        made_since = stored.entry.created_ms >= lease.started_ms
        if made_since or stored.entry.request_id == lease.request_id:
            return True
        age = request.directives.max_age_seconds
        return not request.directives.no_cache and may_serve(stored.entry, self.now_ms(), age)


def _failed(request: EditRequest, lease: Lease, scope: FailureScope) -> Failed | None:
    """The failure that a lease carries, or None if it need not hold for this request."""
    failure = lease.failure
    if failure is None:
        return None
    if not request.coalescing_key.shares_failure(failure.code, failure.extra_digest):
        return None
    remembered = remembered_of(lease)
    if remembered and lease.until_ms <= (lease.ended_ms or 0):
        remembered = None
    return Failed(
        refusal_of(failure),
        scope,
        remembered,
        failure.extra_digest,
        fingerprint=result_key(lease),
    )
