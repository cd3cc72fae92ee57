"""Leases: one upstream call an edit, whichever process is asked.

A lease goes along with the money: taken in the transaction that reserves, ended in the one that
settles or voids, so that it costs no write of its own. A flight that finds another's lease in
its way is `Blocked`; what it does then is `following.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.coalescing.rules.lease import (
    CoalescingKey,
    FlightFailure,
    Lease,
    LeaseStatus,
    blocking_lease,
    must_give_way,
)
from gateway.coalescing.tables import leases
from gateway.database.database import Database, StateUnavailable, Transaction

_KEPT_AFTER_MS = 60_000
"""A lease that means nothing any more stays this long, for who watches it from elsewhere."""


class Blocked(Exception):
    """The edit is not to be bought now, because of this lease; nothing was held."""

    def __init__(self, lease: Lease, status: LeaseStatus) -> None:
        super().__init__(f"{lease.key} is {status.value}")
        self.lease = lease
        self.status = status


@dataclass
class LeaseTransaction:
    """What the state is told of one flight, in the transactions that move its money.

    A transaction may be run again, and `resolve` may come for a reservation whose commit is in
    doubt: without an ending the lease is taken away.
    """

    coalescing_key: CoalescingKey
    request_id: str
    owner_id: str
    now_ms: Callable[[], int]
    max_age_ms: int
    storing_ms: int
    ignored_ids: set[str] = field(default_factory=set)
    """Ids of flights that were waited for in vain."""
    _succeeded: bool = False
    _failure: FlightFailure | None = None
    _remembered_ms: int = 0

    def succeeded(self) -> None:
        """It brought a picture, which will be stored in a moment."""
        self._succeeded, self._failure = True, None

    def failed(self, failure: FlightFailure, remembered_ms: int) -> None:
        """It failed; whoever asks again within `remembered_ms` gets the same."""
        self._succeeded, self._failure, self._remembered_ms = False, failure, remembered_ms

    def abandon(self) -> None:
        """Nobody can say how it ended, and nobody need wait for it."""
        self._succeeded, self._failure = False, None

    async def hold(self, tx: Transaction, reservation_id: str) -> None:
        """Take the lease, before money is held. Raises Blocked."""
        coalescing_key, now_ms = self.coalescing_key, self.now_ms()
        lease = self._lease(
            coalescing_key.lease_key, reservation_id, now_ms, now_ms + self.max_age_ms
        )
        while not (
            coalescing_key.shared and await leases.claim(tx, lease, coalescing_key.fresh_key)
        ):
            found = await leases.read(tx, coalescing_key.watched)
            if in_way := blocking_lease(
                coalescing_key,
                found,
                owner_id=self.owner_id,
                ignored_ids=self.ignored_ids,
                now_ms=now_ms,
            ):
                raise Blocked(*in_way)
            if not coalescing_key.shared:
                return
            # What is left there goes, and where others remove it too, the claim says who is first.
            for leftover in found:
                if must_give_way(coalescing_key, leftover):
                    await leases.remove(tx, leftover.key, leftover.id)

    async def resolve(self, tx: Transaction, reservation_id: str) -> None:
        """Say how it ended, before its money is moved."""
        coalescing_key, now_ms = self.coalescing_key, self.now_ms()
        until_ms = now_ms + (self._remembered_ms if self._failure else self.storing_ms)
        ended = self._lease(coalescing_key.lease_key, reservation_id, now_ms, until_ms, ended=True)
        if coalescing_key.shared and (self._succeeded or self._failure):
            await leases.end(tx, ended)
        elif coalescing_key.shared:
            await leases.remove(tx, ended.key, ended.id)
        if self._failure and self._remembered_ms and coalescing_key.lease_key != coalescing_key.key:
            of_edit = self._lease(coalescing_key.key, reservation_id, now_ms, until_ms, ended=True)
            await leases.remember(tx, of_edit)
        if self._succeeded and coalescing_key.fresh:
            await leases.forget(tx, coalescing_key.key)

    def _lease(
        self, key: str, reservation_id: str, now_ms: int, until_ms: int, *, ended: bool = False
    ) -> Lease:
        return Lease(
            key=key,
            id=reservation_id,
            owner_id=self.owner_id,
            request_id=self.request_id,
            started_ms=now_ms,
            until_ms=until_ms,
            ended_ms=now_ms if ended else None,
            failure=self._failure if ended else None,
        )


class Leases:
    """The leases of one process, `owner_id`.

    `max_age_seconds`: no flight takes longer. `storing_seconds`: after it has landed, its
    picture is stored within these.
    """

    def __init__(
        self,
        *,
        database: Database,
        owner_id: str,
        now_ms: Callable[[], int],
        max_age_seconds: float,
        storing_seconds: float,
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        self._database = database
        self._owner_id = owner_id
        self._now_ms = now_ms
        self._max_age_ms = int(max_age_seconds * 1000)
        self._storing_ms = int(storing_seconds * 1000)
        self._on_failure = on_failure

    def of(self, coalescing_key: CoalescingKey, request_id: str) -> LeaseTransaction:
        """The lease of a flight that is about to ask for money."""
        return LeaseTransaction(
            coalescing_key=coalescing_key,
            request_id=request_id,
            owner_id=self._owner_id,
            now_ms=self._now_ms,
            max_age_ms=self._max_age_ms,
            storing_ms=self._storing_ms,
        )

    async def release(self, lease_transaction: LeaseTransaction, reservation_id: str) -> None:
        """Whoever waits elsewhere need not wait any longer: nothing will be stored."""
        key = lease_transaction.coalescing_key.lease_key
        if not key:
            return
        try:
            await self._database.write(
                lambda tx: leases.remove(tx, key, reservation_id), urgent=False
            )
        except StateUnavailable as error:  # they wait until it runs out
            self._on_failure("lease", error)

    async def sweep(self, tx: Transaction) -> None:
        """Drop what no longer means anything."""
        await leases.sweep(tx, self._now_ms() - _KEPT_AFTER_MS)
