"""Following a flight of another process: what a leader does that was `Blocked` by its lease.

The picture comes by way of the results, the failure with the lease. Nothing is written to the
state meanwhile; when there is nothing left to wait for, the edit is bought after all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.cache.result_store import ResultStore, Stored
from gateway.cache.rules.entry import may_serve
from gateway.coalescing.lease_transaction import Blocked, LeaseTransaction
from gateway.coalescing.lease_watcher import LeaseEnd, LeaseWatcher
from gateway.coalescing.rules.failure_memory import refusal_of, remembered_of
from gateway.coalescing.rules.lease import Lease, LeaseStatus, is_of_request
from gateway.edits.edit_request import EditRequest
from gateway.edits.flight_result import Failed, FlightResult, Picture
from gateway.model.errors import Refusal
from gateway.telemetry.log import EventLog


class Follower:
    """Waits for flights of other processes."""

    def __init__(
        self,
        *,
        lease_watcher: LeaseWatcher,
        results: ResultStore,
        log: EventLog,
        now_ms: Callable[[], int],
    ) -> None:
        self._lease_watcher = lease_watcher
        self._results = results
        self._log = log
        self._now_ms = now_ms

    async def follow(
        self, request: EditRequest, lease_transaction: LeaseTransaction, blocked: Blocked
    ) -> FlightResult | None:
        """How the flight landed that stands in this order's way; None: try again to lead.

        Raises `shutting_down` where this process ends first.
        """
        lease = blocked.lease
        if blocked.status is LeaseStatus.FAILED:
            return _crash(request, lease, recalled=True)
        if blocked.status is LeaseStatus.IN_FLIGHT:
            ended = await self._lease_watcher.end_of(lease)
            lease = ended.lease
            if ended.how is LeaseEnd.FAILED:
                return _crash(request, lease, recalled=False)
            if ended.how is LeaseEnd.SHUTTING_DOWN:
                raise Refusal("shutting_down", _CLOSED, retry_after_seconds=2)
            if ended.how is LeaseEnd.OWNER_LOST:
                self._take_over(request, lease_transaction, lease)
            if ended.how is not LeaseEnd.FINISHED:
                return None
        stored = await self._arrived(request, lease)
        if stored is None:
            lease_transaction.ignored_ids.add(lease.id)
            return None
        return Picture(stored.entry, stored.body, found=True, elsewhere=True, stored=True)

    def _take_over(
        self, request: EditRequest, lease_transaction: LeaseTransaction, lease: Lease
    ) -> None:
        lease_transaction.ignored_ids.add(lease.id)
        self._log.warn(
            "a flight is taken over from a process that shows no life",
            taken_over=lease.request_id,
            fingerprint=request.fingerprint.key,
            owner=lease.owner_id,
        )

    async def _arrived(self, request: EditRequest, lease: Lease) -> Stored | None:
        """The result of a flight that has landed, for which the store may need a moment more."""
        key, hidden, last_look = request.fingerprint.key, True, False
        clock = asyncio.get_running_loop().time
        deadline = clock() + (lease.until_ms - (lease.ended_ms or lease.until_ms)) / 1000
        while True:
            stored = await self._results.get(key)
            if stored and self._serves(request, lease, stored):
                return stored
            if stored and hidden and stored.entry.created_ms < lease.started_ms:
                hidden = False  # by this machine's own copy of what was there before
                await self._results.forget(key, lease.started_ms)
            elif last_look or clock() >= deadline:
                return None
            else:  # its owner takes the lease away where nothing could be stored
                last_look = (await self._lease_watcher.end_of(lease)).how is not LeaseEnd.FINISHED

    def _serves(self, request: EditRequest, lease: Lease, stored: Stored) -> bool:
        made_since = stored.entry.created_ms >= lease.started_ms
        if made_since or stored.entry.request_id == lease.request_id:
            return True
        age = request.directives.max_age_seconds
        return not request.directives.no_cache and may_serve(stored.entry, self._now_ms(), age)


_CLOSED = (
    "The gateway is shutting down; nothing was charged for this request. Try again: another one "
    "answers, or this one when it is back."
)


def _crash(request: EditRequest, lease: Lease, *, recalled: bool) -> Failed | None:
    """The failure that a lease carries; one that is not remembered is its followers' alone.

    None also where it may be due to what its leader sent beside, and this order does not.
    """
    if lease.failure is None:
        return None
    extra_digest = lease.failure.extra_digest
    if is_of_request(lease.failure.code) and extra_digest != request.fingerprint.extra_digest:
        return None
    remembered = remembered_of(lease)
    if remembered and lease.until_ms <= (lease.ended_ms or 0):
        remembered = None
    return Failed(
        refusal_of(lease.failure),
        remembered=remembered,
        recalled=recalled,
        extra_digest=extra_digest,
    )
