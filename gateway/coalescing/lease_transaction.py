"""Leases: one upstream call per edit over all processes.

A lease is written together with the money: taken in the transaction that reserves, ended in the
one that settles or voids, so that it costs no write of its own. A flight that meets another
one's lease is `Blocked`, and follows that one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gateway.coalescing.rules.blocking_leases import (
    blocking_elsewhere,
    blocking_lease,
    is_replaced,
)
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.coalescing.rules.lease import FlightFailure, Lease, LeaseStatus, status_of
from gateway.coalescing.tables import leases
from gateway.database.database import Database, StateUnavailable, Transaction
from gateway.database.ids import new_id

_KEPT_AFTER_MS = 60_000
"""How long an expired lease stays, for the processes that watch it."""


class Blocked(Exception):
    """This lease blocks the purchase. Nothing was held."""

    def __init__(self, lease: Lease, status: LeaseStatus) -> None:
        super().__init__(f"{lease.key} is {status.value}")
        self.lease = lease
        self.status = status


@dataclass
class LeaseTransaction:
    """One flight's part in the transactions that move its money.

    A transaction may be run again, and `resolve` may run for a reservation whose commit is in
    doubt. A lease without a known ending is removed.
    """

    process: Leases
    coalescing_key: CoalescingKey
    request_id: str
    ignored_ids: set[str] = field(default_factory=set)
    """Ids of flights that were waited for in vain."""
    permit: Lease | None = None
    """A further lease, which ends with this one: see `edits.first_calls`."""
    _succeeded: bool = False
    _failure: FlightFailure | None = None
    _remembered_ms: int = 0
    _fetching_ms: int = 0

    def succeeded(self, fetching_ms: int = 0) -> None:
        """The call brought a result, which will be stored in a moment.

        `fetching_ms`: the longest that its pictures have still to be fetched.
        """
        self._succeeded, self._failure, self._fetching_ms = True, None, fetching_ms

    def failed(self, failure: FlightFailure, remembered_ms: int) -> None:
        """Requests within `remembered_ms` get the same failure."""
        self._succeeded, self._failure, self._remembered_ms = False, failure, remembered_ms

    def abandon(self) -> None:
        """The ending is not known. No process needs to wait for it."""
        self._succeeded, self._failure = False, None

    async def hold(self, tx: Transaction, reservation_id: str) -> None:
        """Take the lease, before money is held. Raises Blocked."""
        key, now_ms, owner_id = self.coalescing_key, self.process.now_ms(), self.process.owner_id
        until_ms = now_ms + self.process.max_age_ms
        lease = self._lease(key.lease_key, reservation_id, now_ms, until_ms)
        await self._look_elsewhere(tx)
        while not (key.shared and await leases.claim(tx, lease, key.fresh_key)):
            found = await leases.read(tx, key.watched_keys)
            if blocking := blocking_lease(
                key, found, owner_id=owner_id, ignored_ids=self.ignored_ids, now_ms=now_ms
            ):
                raise Blocked(*blocking)
            if not key.shared:
                return
            # Other processes may remove the same leftovers: the next claim decides who is first.
            for leftover in found:
                if is_replaced(key, leftover):
                    await leases.remove(tx, leftover.key, leftover.id)

    async def confirm(self, tx: Transaction) -> None:
        """Look again at the other targets, while the accounts are locked. Raises Blocked.

        Two processes that look at the same time see none of each other's leases. The locks put
        their transactions in an order, and here the later one sees the lease of the earlier one.
        """
        if self.coalescing_key.shares_elsewhere:
            await self._look_elsewhere(tx)

    async def _look_elsewhere(self, tx: Transaction) -> None:
        key = self.coalescing_key
        if not key.keys_elsewhere:
            return
        blocking = blocking_elsewhere(
            key,
            await leases.read(tx, key.keys_elsewhere),
            owner_id=self.process.owner_id,
            ignored_ids=self.ignored_ids,
            now_ms=self.process.now_ms(),
        )
        if blocking:
            raise Blocked(*blocking)

    async def resolve(self, tx: Transaction, reservation_id: str) -> None:
        """End the lease, before its money is moved."""
        key, now_ms = self.coalescing_key, self.process.now_ms()
        storing_ms = self._fetching_ms + self.process.storing_ms
        until_ms = now_ms + (self._remembered_ms if self._failure else storing_ms)
        ended = self._lease(key.lease_key, reservation_id, now_ms, until_ms, ended=True)
        if key.shared and (self._succeeded or self._failure):
            await leases.end(tx, ended)
        elif key.shared:
            await leases.remove(tx, ended.key, ended.id)
        if self._failure and self._remembered_ms and key.lease_key != key.key:
            of_edit = self._lease(key.key, reservation_id, now_ms, until_ms, ended=True)
            await leases.remember(tx, of_edit)
        if self._succeeded and key.fresh:
            for each in (key.key, *key.other_keys):
                await leases.forget(tx, each)
        if self.permit:
            await leases.remove(tx, self.permit.key, self.permit.id)

    def _lease(
        self, key: str, reservation_id: str, now_ms: int, until_ms: int, *, ended: bool = False
    ) -> Lease:
        return Lease(
            key=key,
            id=reservation_id,
            owner_id=self.process.owner_id,
            request_id=self.request_id,
            started_ms=now_ms,
            until_ms=until_ms,
            ended_ms=now_ms if ended else None,
            failure=self._failure if ended else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Leases:
    """The leases of one process, `owner_id`.

    No flight takes longer than `max_age_ms`; its result is stored within `storing_ms` of its
    end.
    """

    database: Database
    owner_id: str
    now_ms: Callable[[], int]
    max_age_ms: int
    storing_ms: int
    on_failure: Callable[[str, BaseException], None]

    def of(self, coalescing_key: CoalescingKey, request_id: str) -> LeaseTransaction:
        """The lease of a flight that will reserve money."""
        return LeaseTransaction(self, coalescing_key, request_id)

    async def blocking(
        self, coalescing_key: CoalescingKey, silent_since_ms: int
    ) -> tuple[Lease, LeaseStatus] | None:
        """The lease because of which the edit would not be bought now. Changes nothing.

        Leases in flight whose owners have been silent since then do not count. Raises
        StateUnavailable.
        """
        key, now_ms = coalescing_key, self.now_ms()
        of_edit = await self.database.read(lambda tx: leases.read(tx, key.watched_keys))
        elsewhere = await self.database.read(lambda tx: leases.read(tx, key.keys_elsewhere))
        silent = [
            lease.id
            for lease in (*of_edit, *elsewhere)
            if lease.ended_ms is None and (lease.heartbeat_ms or 0) < silent_since_ms
        ]
        found = blocking_elsewhere(
            key, elsewhere, owner_id=self.owner_id, ignored_ids=silent, now_ms=now_ms
        )
        return found or blocking_lease(
            key, of_edit, owner_id=self.owner_id, ignored_ids=silent, now_ms=now_ms
        )

    async def take(
        self, key: str, request_id: str, lost_ids: Collection[str]
    ) -> tuple[Lease, Lease | None]:
        """A new lease of this key, and the lease of another process that prevents it.

        This process has no other flight of the key, and the owners of `lost_ids` are gone.
        """
        now_ms = self.now_ms()
        new = Lease(
            key, new_id("lse_"), self.owner_id, request_id, now_ms, now_ms + self.max_age_ms
        )

        async def take(tx: Transaction) -> Lease | None:
            while not await leases.claim(tx, new):
                for found in await leases.read(tx, [key]):
                    expired = status_of(found, now_ms) is LeaseStatus.EXPIRED
                    if not expired and found.owner_id != self.owner_id and found.id not in lost_ids:
                        return found
                    await leases.remove(tx, key, found.id)
            return None

        return new, await self.database.write(take)

    async def release(self, key: str, lease_id: str) -> None:
        """Remove a lease, so that other processes stop waiting for it."""
        try:
            await self.database.write(lambda tx: leases.remove(tx, key, lease_id), urgent=False)
        except StateUnavailable as error:  # followers wait until the lease expires
            self.on_failure("lease", error)

    async def sweep(self, tx: Transaction) -> None:
        """Delete leases that expired a while ago."""
        await leases.sweep(tx, self.now_ms() - _KEPT_AFTER_MS)
