"""A few threads for calls that may hang, each call with a time-out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

LEAVING_SECONDS = 1.0


class Lane:
    """Runs blocking work off the event loop; a caller never waits longer than its time-out.

    A thread can't be stopped: work that overran goes on. Where all threads hang in such work,
    callers are refused at once rather than after a time-out each.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._closed = False
        self._overran: set[Future[Any]] = set()

    async def run(self, work: Callable[[], Result], timeout_seconds: float) -> Result:
        """What `work` returns or raises. Raises TimeoutError, and OSError once it is closed."""
        if self._closed:
            raise OSError("the store is closed")
        if len(self._overran) >= self._threads:
            raise TimeoutError("every thread hangs in an earlier call")
        job = self._pool.submit(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), timeout_seconds)
        except TimeoutError:
            if not job.cancel() and not job.done():
                self._overran.add(job)
                job.add_done_callback(self._overran.discard)
            raise

    async def close(self, leave: Callable[[], None]) -> None:
        """End the threads; `leave` runs once in each that does not hang."""
        if self._closed:
            return
        self._closed = True
        together = threading.Barrier(self._threads)
        jobs = [self._pool.submit(_leave, together, leave) for _ in range(self._threads)]
        await asyncio.wait([asyncio.wrap_future(job) for job in jobs], timeout=LEAVING_SECONDS * 2)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _leave(together: threading.Barrier, leave: Callable[[], None]) -> None:
    """Waiting for the others keeps a thread from taking two of these jobs."""
    try:
        together.wait(LEAVING_SECONDS)
    except threading.BrokenBarrierError:
        pass  # some thread hangs; this one leaves all the same
    finally:
        leave()
