"""A few threads for calls that may hang, each call with a time-out."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class _Job(Generic[Result]):
    """One call. A thread marks it as started, then checks whether it is still wanted."""

    def __init__(self, work: Callable[[], Result], future: asyncio.Future[Result]) -> None:
        self._work = work
        self.future = future
        self.started = False
        self.abandoned = False
        self.on_end: Callable[[_Job[Any]], None] | None = None
        """Called when the work ends; set if it has overrun its time-out."""

    def run(self) -> None:
        self.started = True
        result, error = None, None
        if not self.abandoned:
            try:
                result = self._work()
            except BaseException as raised:  # noqa: BLE001 - re-raised in the awaiting task
                error = raised
        # The caller's event loop may be closed: then no task awaits the result.
        with contextlib.suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.on_end:
            self.on_end(self)
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class BoundedExecutor:
    """Runs blocking work off the event loop; no caller waits longer than its time-out.

    A thread cannot be stopped: work that overran goes on. While every thread is blocked by such
    work, calls fail at once instead of after a time-out each. The threads are daemons, so that
    blocked work does not delay the exit of the process.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._started = False
        self._closed = False
        self._overran: set[_Job[Any]] = set()

    async def run(self, work: Callable[[], Result], timeout_seconds: float) -> Result:
        """The result of `work`, or its exception. Raises TimeoutError, and OSError once closed."""
        if self._closed:
            raise OSError("the store is closed")
        if len(self._overran) >= self._threads:
            raise TimeoutError("every thread is blocked by an earlier call")
        self._start()
        loop = asyncio.get_running_loop()
        job: _Job[Result] = _Job(work, loop.create_future())
        self._jobs.put(job)
        timer = loop.call_later(timeout_seconds, self._time_out, job)
        try:
            return await job.future
        finally:
            timer.cancel()
            job.abandoned = True

    def close(self) -> None:
        """End the threads once they have finished the work in the queue."""
        if not self._closed:
            self._closed = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for number in range(self._threads):
                name = f"{self._name}_{number}"
                threading.Thread(target=self._run_jobs, name=name, daemon=True).start()

    def _run_jobs(self) -> None:
        while job := self._jobs.get():
            job.run()
            del job  # frees its result before the next job arrives

    def _time_out(self, job: _Job[Any]) -> None:
        if job.future.done():
            return
        job.abandoned = True
        if job.started:
            self._overran.add(job)
            job.on_end = self._overran.discard
        job.future.set_exception(TimeoutError())
