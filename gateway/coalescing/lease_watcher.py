"""The lookout: watches flights of other processes until they end, for those who follow them.

One task for all the flights that a process follows; it only reads, and runs while there are any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gateway.coalescing.rules.lease import HeartbeatTracker, Lease, LeaseStatus, status_of
from gateway.coalescing.tables import leases
from gateway.database.database import Database, StateUnavailable, Transaction

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25


class LeaseEnd(Enum):
    """How a watched flight ended, or why it is watched no longer."""

    FINISHED = "finished"
    FAILED = "failed"
    GONE = "gone"
    """Its lease is no more, or has become another flight's."""
    OWNER_LOST = "owner_lost"
    """Its owner has shown no life for too long."""
    UNREADABLE = "unreadable"
    """The state can't be read just now."""
    SHUTTING_DOWN = "shutting_down"
    """This process is about to end."""


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A sighting, with the lease as it stood then."""

    how: LeaseEnd
    lease: Lease


@dataclass(frozen=True, slots=True)
class _Watch:
    lease: Lease
    ending: asyncio.Future[LeaseEnded]

    def tell(self, ended: LeaseEnded) -> None:
        if not self.ending.done():
            self.ending.set_result(ended)


class LeaseWatcher:
    """Watches leases. `silent_seconds` is how long an owner's heartbeat may stand still."""

    def __init__(
        self, *, database: Database, now_ms: Callable[[], int], silent_seconds: float
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._silent_seconds = silent_seconds
        self._hearts = HeartbeatTracker()
        self._watches: dict[str, _Watch] = {}
        self._task: asyncio.Task[None] | None = None
        self._newcomers = False
        self._closed = False

    @property
    def watched(self) -> int:
        """How many flights of others are followed from here."""
        return len(self._watches)

    async def end_of(self, lease: Lease) -> LeaseEnded:
        """Wait until the flight of this lease has ended, however it did."""
        if self._closed:
            return LeaseEnded(LeaseEnd.SHUTTING_DOWN, lease)
        watch = self._watches.get(lease.id)
        if watch is None:
            watch = _Watch(lease, asyncio.get_running_loop().create_future())
            self._watches[lease.id] = watch
            self._newcomers = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="lookout")
        return await asyncio.shield(watch.ending)

    def stop_waiting(self) -> None:
        """Let everybody go who waits for a flight of another process, now and from now on."""
        self._closed = True
        self._tell_all(LeaseEnd.SHUTTING_DOWN)

    async def close(self) -> None:
        self.stop_waiting()
        if self._task:
            await self._task

    async def _watch(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while self._watches:
                pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
                if self._newcomers:
                    self._newcomers, pause = False, FIRST_PAUSE_SECONDS
                await asyncio.sleep(pause)
                await self._look()
        except Exception as error:  # noqa: BLE001 - who waits must not wait for ever
            for watch in self._watches.values():
                watch.ending.set_exception(error)
            self._watches.clear()
        finally:
            self._hearts.forget()

    async def _look(self) -> None:
        """Look at every flight once, and tell of those that have ended."""
        watches = list(self._watches.values())
        keys = sorted({watch.lease.key for watch in watches})

        async def read(tx: Transaction) -> list[Lease]:
            return await leases.read(tx, keys)

        try:
            found = {lease.key: lease for lease in await self._database.read(read)}
        except StateUnavailable:
            # Nobody else can write now either: their silence means nothing.
            self._hearts.forget()
            self._tell_all(LeaseEnd.UNREADABLE)
            return
        for watch in watches:
            if ended := self._sighted(watch.lease, found.get(watch.lease.key)):
                self._watches.pop(watch.lease.id, None)
                watch.tell(ended)

    def _sighted(self, lease: Lease, found: Lease | None) -> LeaseEnded | None:
        """What has become of a lease, by what the state says now; None where it flies on."""
        if found is None or found.id != lease.id:
            return LeaseEnded(LeaseEnd.GONE, lease)
        if found.ended_ms is not None:
            return LeaseEnded(LeaseEnd.FAILED if found.failure else LeaseEnd.FINISHED, found)
        clock = asyncio.get_running_loop().time()
        silent_seconds = self._hearts.silent_seconds(found.owner_id, found.heartbeat_ms, clock)
        too_old = status_of(found, self._now_ms()) is LeaseStatus.EXPIRED
        if too_old or silent_seconds >= self._silent_seconds:
            return LeaseEnded(LeaseEnd.OWNER_LOST, found)
        return None

    def _tell_all(self, how: LeaseEnd) -> None:
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            watch.tell(LeaseEnded(how, watch.lease))
