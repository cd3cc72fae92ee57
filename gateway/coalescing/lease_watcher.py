"""Watching the flights of other processes until they end.

One task reads the leases of all watched flights. It runs while there are any, and only reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from gateway.coalescing.rules.heartbeats import HeartbeatTracker
from gateway.coalescing.rules.lease import Lease, LeaseStatus, status_of
from gateway.coalescing.tables import leases
from gateway.database.database import Database, StateUnavailable, Transaction

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25


class LeaseEnd(Enum):
    """How a watched flight ended, or why it is not watched any longer."""

    FINISHED = "finished"
    FAILED = "failed"
    GONE = "gone"
    """The lease was removed, or another flight has taken its place."""
    OWNER_LOST = "owner_lost"
    """The owner's heartbeat has stopped, or the lease has expired."""
    UNREADABLE = "unreadable"
    """The state cannot be read."""
    SHUTTING_DOWN = "shutting_down"
    """This process is about to end."""


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """An ending, and the lease as last read."""

    how: LeaseEnd
    lease: Lease


@dataclass(frozen=True, slots=True)
class _Watch:
    lease: Lease
    ending: asyncio.Future[LeaseEnded]

    def end(self, ended: LeaseEnded) -> None:
        if not self.ending.done():
            self.ending.set_result(ended)


@dataclass(kw_only=True, slots=True)
class LeaseWatcher:
    """Watches leases. An owner is lost when its heartbeat stops for `silent_seconds`."""

    database: Database
    now_ms: Callable[[], int]
    silent_seconds: float
    _heartbeats: HeartbeatTracker = field(init=False)
    _watches: dict[str, _Watch] = field(init=False, default_factory=dict)
    _task: asyncio.Task[None] | None = field(init=False, default=None)
    _has_new: bool = field(init=False, default=False)
    _closed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._heartbeats = HeartbeatTracker(self.silent_seconds)

    @property
    def watched(self) -> int:
        """The number of flights that are watched."""
        return len(self._watches)

    async def end_of(self, lease: Lease) -> LeaseEnded:
        """Wait for the end of this lease's flight."""
        if self._closed:
            return LeaseEnded(LeaseEnd.SHUTTING_DOWN, lease)
        watch = self._watches.get(lease.id)
        if watch is None:
            watch = _Watch(lease, asyncio.get_running_loop().create_future())
            self._watches[lease.id] = watch
            self._has_new = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="lease watcher")
        return await asyncio.shield(watch.ending)

    def stop_waiting(self) -> None:
        """End every wait, now and from now on, with SHUTTING_DOWN."""
        self._closed = True
        self._end_all(LeaseEnd.SHUTTING_DOWN)

    async def close(self) -> None:
        self.stop_waiting()
        if self._task:
            await self._task

    async def _watch(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while self._watches:
                pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
                if self._has_new:
                    self._has_new, pause = False, FIRST_PAUSE_SECONDS
                await asyncio.sleep(pause)
                await self._look()
        except Exception as error:  # noqa: BLE001 - followers must not wait for ever
            for watch in self._watches.values():
                watch.ending.set_exception(error)
            self._watches.clear()
        finally:
            self._heartbeats.forget()

    async def _look(self) -> None:
        """Read every watched lease once, and end the waits for those that have ended."""
        watches = list(self._watches.values())
        keys = sorted({watch.lease.key for watch in watches})

        async def read(tx: Transaction) -> list[Lease]:
            return await leases.read(tx, keys)

        try:
            found = {lease.key: lease for lease in await self.database.read(read)}
        except StateUnavailable:
            # The owners cannot write heartbeats now either: their silence means nothing.
            self._heartbeats.forget()
            self._end_all(LeaseEnd.UNREADABLE)
            return
        for watch in watches:
            if ended := self._ended(watch.lease, found.get(watch.lease.key)):
                self._watches.pop(watch.lease.id, None)
                watch.end(ended)

    def _ended(self, lease: Lease, found: Lease | None) -> LeaseEnded | None:
        """How a flight ended, by the lease as just read; None if it is still in flight."""
        if found is None or found.id != lease.id:
            return LeaseEnded(LeaseEnd.GONE, lease)
        if found.ended_ms is not None:
            return LeaseEnded(LeaseEnd.FAILED if found.failure else LeaseEnd.FINISHED, found)
        clock = asyncio.get_running_loop().time()
        stopped = self._heartbeats.has_stopped(found.owner_id, found.heartbeat_ms, clock)
        if stopped or status_of(found, self.now_ms()) is LeaseStatus.EXPIRED:
            return LeaseEnded(LeaseEnd.OWNER_LOST, found)
        return None

    def _end_all(self, how: LeaseEnd) -> None:
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            watch.end(LeaseEnded(how, watch.lease))
