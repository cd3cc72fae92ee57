"""A few threads for calls that may hang, each call with a time-out."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

LEAVING_SECONDS = 1.0


class _Job(Generic[Result]):
    """One call: the thread that takes it first says so, then looks whether it is still wanted."""

    def __init__(self, work: Callable[[], Result], future: asyncio.Future[Result]) -> None:
        self._work = work
        self.future = future
        self.begun = False
        self.given_up = False
        self.ended: Callable[[_Job[Any]], None] | None = None
        """To be told when it ends after all; set where it has overrun."""

    def run(self) -> None:
        self.begun = True
        result, error = None, None
        if not self.given_up:
            try:
                result = self._work()
            except BaseException as raised:  # noqa: BLE001 - it belongs to whoever awaits
                error = raised
        # The caller's event loop may be closed by now: then nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.ended:
            self.ended(self)
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class BoundedExecutor:
    """Runs blocking work off the event loop; a caller never waits longer than its time-out.

    A thread can't be stopped: work that overran goes on. Where all threads hang in such work,
    callers are refused at once rather than after a time-out each.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._started = False
        self._closed = False
        self._overran: set[_Job[Any]] = set()

    async def run(self, work: Callable[[], Result], timeout_seconds: float) -> Result:
        """What `work` returns or raises. Raises TimeoutError, and OSError once it is closed."""
        if self._closed:
            raise OSError("the store is closed")
        if len(self._overran) >= self._threads:
            raise TimeoutError("every thread hangs in an earlier call")
        job = self._put(work)
        timer = job.future.get_loop().call_later(timeout_seconds, self._overdue, job)
        try:
            return await job.future
        finally:
            timer.cancel()
            job.given_up = True

    def _put(self, work: Callable[[], Result]) -> _Job[Result]:
        if not self._started:
            self._started = True
            for number in range(self._threads):
                name = f"{self._name}_{number}"
                threading.Thread(target=self._work_off, name=name, daemon=True).start()
        job = _Job(work, asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        return job

    def _work_off(self) -> None:
        while job := self._jobs.get():
            job.run()
            del job  # what it holds is not to live until the next one comes

    def _overdue(self, job: _Job[Any]) -> None:
        if job.future.done():
            return
        job.given_up = True
        if job.begun:
            self._overran.add(job)
            job.ended = self._overran.discard
        job.future.set_exception(TimeoutError())

    async def close(self, leave: Callable[[], None]) -> None:
        """End the threads; `leave` runs once in each that does not hang."""
        if self._closed:
            return
        self._closed = True
        together = threading.Barrier(self._threads)
        jobs = [self._put(lambda: _leave(together, leave)) for _ in range(self._threads)]
        await asyncio.wait([job.future for job in jobs], timeout=LEAVING_SECONDS * 2)
        for _ in range(self._threads):
            self._jobs.put(None)


def _leave(together: threading.Barrier, leave: Callable[[], None]) -> None:
    """Waiting for the others keeps a thread from taking two of these jobs."""
    try:
        together.wait(LEAVING_SECONDS)
    except threading.BrokenBarrierError:
        pass  # some thread hangs; this one leaves all the same
    finally:
        leave()
