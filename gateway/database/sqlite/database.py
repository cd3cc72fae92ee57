"""Operations on SQLite: a queue for the writer thread, another for the readers."""

from __future__ import annotations

import asyncio
import copy
import itertools
import queue
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.database.database import (
    CheckedTransaction,
    Operation,
    Result,
    Row,
    StateUnavailable,
    Value,
)
from gateway.database.sqlite.connection import OpenedFile, SqliteConnection, create

MOST_TOGETHER = 16
"""The maximum number of short operations that share a commit."""
_Outcome = tuple[object, BaseException | None]
"""The result of an operation, or the exception that it raised."""
BATCH_PATIENCE_SECONDS = 0.1
"""How long urgent operations overtake a batch in the queue."""


class SqliteTransaction(CheckedTransaction):
    """One open transaction; its `fetch` never suspends."""

    def __init__(self, connection: SqliteConnection) -> None:
        super().__init__()
        self._connection = connection

    async def _fetch(self, sql: str, values: Sequence[Value]) -> Sequence[Row]:
        return self._connection.fetch(sql, values)


@dataclass(order=True, slots=True)
class _QueuedOperation:
    """A queued operation, and the future of its result. Without an operation, ends a thread."""

    due: float
    number: int
    operation: Operation[Any] | None = field(compare=False)
    future: asyncio.Future[Any] | None = field(compare=False, default=None)
    together: bool = field(compare=False, default=False)

    def finish(self, result: object, error: BaseException | None) -> None:
        future = self.future
        if future is None:
            return

        def settle() -> None:
            if future.cancelled():  # the caller left; the operation ran all the same
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            future.get_loop().call_soon_threadsafe(settle)
        except RuntimeError:  # the caller's event loop is closed
            return


class _WorkerThread(threading.Thread):
    """A thread that runs queued operations on a connection of its own."""

    def __init__(
        self,
        name: str,
        jobs: queue.PriorityQueue[_QueuedOperation],
        connection: SqliteConnection,
        begin: str,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._jobs = jobs
        self._connection = connection
        self._begin = begin

    def run(self) -> None:
        while (job := self._jobs.get()).operation is not None:
            shared = self._next_together() if job.together else []
            if not shared or not self._run_together([job, *shared]):
                for each in (job, *shared):
                    self._run_alone(each)
        self._connection.close()

    def _next_together(self) -> list[_QueuedOperation]:
        """The next operations in the queue that may share a transaction."""
        found: list[_QueuedOperation] = []
        while len(found) < MOST_TOGETHER - 1 and not self._jobs.empty():
            job = self._jobs.get()  # the writer is the only thread that takes from this queue
            if not job.together:
                self._jobs.put(job)
                break
            found.append(job)
        return found

    def _run_together(self, jobs: Sequence[_QueuedOperation]) -> bool:
        """Run several operations in one transaction, with one sync of the disk.

        Each runs in a savepoint, so that a failure undoes one operation only. No caller gets a
        result before the commit. False, with nothing done, if the transaction as a whole failed
        before its commit: then each operation has to run by itself.
        """
        try:
            self._connection.begin(self._begin)
        except StateUnavailable as error:
            return self._finish_all(jobs, [(None, copy.copy(error)) for _ in jobs])
        try:
            outcomes = [self._in_savepoint(job) for job in jobs]
        except BaseException:  # noqa: BLE001 - raised again when the operation runs by itself
            self._connection.roll_back()
            return False
        try:
            self._connection.commit()
        except BaseException as error:  # noqa: BLE001 - passed to every caller
            self._connection.roll_back()
            outcomes = [(None, copy.copy(error)) for _ in jobs]
        return self._finish_all(jobs, outcomes)

    def _finish_all(self, jobs: Sequence[_QueuedOperation], outcomes: Sequence[_Outcome]) -> bool:
        for job, (result, error) in zip(jobs, outcomes, strict=True):
            job.finish(result, error)
        return True

    def _in_savepoint(self, job: _QueuedOperation) -> _Outcome:
        """The outcome of one operation. Raises if it ended the whole transaction."""
        self._connection.execute("SAVEPOINT job")
        try:
            result = self._operate(_operation_of(job))
        except BaseException as error:
            if not self._connection.holds:
                raise
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return None, error
        self._connection.execute("RELEASE job")
        return result, None

    def _run_alone(self, job: _QueuedOperation) -> None:
        try:
            result = self._transact(_operation_of(job))
        except BaseException as error:  # noqa: BLE001 - passed to the caller
            job.finish(None, error)
        else:
            job.finish(result, None)

    def _transact(self, operation: Operation[Any]) -> object:
        self._connection.begin(self._begin)
        try:
            result = self._operate(operation)
            self._connection.commit()
        except BaseException:
            self._connection.roll_back()
            raise
        return result

    def _operate(self, operation: Operation[Any]) -> object:
        transaction = SqliteTransaction(self._connection)
        return _drive(transaction.run(operation))


def _operation_of(job: _QueuedOperation) -> Operation[Any]:
    if job.operation is None:
        raise RuntimeError("the end of a thread is no operation")
    return job.operation


def _drive(operation: Coroutine[Any, Any, Result]) -> Result:
    """Run an operation's coroutine to its end. It must not suspend."""
    steps = operation.__await__()
    try:
        next(steps)
    except StopIteration as done:
        result: Result = done.value
        return result
    steps.close()
    raise RuntimeError(
        "an operation on the state may await its transaction only, "
        "and this one awaited something else"
    )


class SqliteDatabase:
    """The state in one SQLite file.

    A missing file is created with mode 0600, its folder with 0700. `busy_seconds` limits the wait
    for another process's lock, after which StateUnavailable is raised.
    """

    def __init__(self, path: Path | str, *, readers: int = 3, busy_seconds: float = 20.0) -> None:
        self._path = Path(path).absolute()
        self._readers = readers
        self._busy_seconds = busy_seconds
        self._writes: queue.PriorityQueue[_QueuedOperation] = queue.PriorityQueue()
        self._reads: queue.PriorityQueue[_QueuedOperation] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads: list[_WorkerThread] = []
        self._closed = False
        self._lock = threading.Lock()

    async def write(
        self, operation: Operation[Result], *, urgent: bool = True, together: bool = False
    ) -> Result:
        patience = 0.0 if urgent else BATCH_PATIENCE_SECONDS
        result: Result = await self._put(self._writes, operation, patience, together)
        return result

    async def read(self, operation: Operation[Result]) -> Result:
        result: Result = await self._put(self._reads, operation, 0.0)
        return result

    async def exclusive(self, operation: Operation[Result]) -> Result:
        # SQLite has one writer among all processes: every write is exclusive.
        return await self.write(operation)

    async def clock_ms(self) -> int:
        return time.time_ns() // 1_000_000  # the clock of a file is its machine's

    async def close(self) -> None:
        """Run the queued operations, then end the threads and close their connections."""
        with self._lock:
            already, self._closed = self._closed, True
            if not already:
                self._writes.put(_QueuedOperation(float("inf"), next(self._numbers), None))
                for _ in range(self._readers):
                    self._reads.put(_QueuedOperation(float("inf"), next(self._numbers), None))
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _put(
        self,
        jobs: queue.PriorityQueue[_QueuedOperation],
        operation: Operation[Any],
        patience: float,
        together: bool = False,
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                raise StateUnavailable("the state's database is closed")
            if not self._threads:
                self._start()
            due = time.monotonic() + patience
            jobs.put(_QueuedOperation(due, next(self._numbers), operation, future, together))
        return future

    def _start(self) -> None:
        try:
            create(self._path)
        except OSError as error:
            raise StateUnavailable(
                f"the state's database {self._path} cannot be created: {error}"
            ) from error
        file = OpenedFile(self._path)
        writer = SqliteConnection(file, self._busy_seconds, read_only=False)
        self._threads = [_WorkerThread("state-writer", self._writes, writer, "BEGIN IMMEDIATE")]
        for number in range(self._readers):
            reader = SqliteConnection(file, self._busy_seconds, read_only=True)
            self._threads.append(
                _WorkerThread(f"state-reader-{number}", self._reads, reader, "BEGIN")
            )
        for thread in self._threads:
            thread.start()
