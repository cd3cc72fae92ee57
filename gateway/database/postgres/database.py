"""Operations on PostgreSQL: connections for writers, others for readers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from gateway.database.database import Operation, Result, StateUnavailable, Transaction
from gateway.database.postgres.hosts import Hosts, PostgresConnection
from gateway.database.postgres.transaction import (
    AGAIN,
    BROKEN,
    PostgresTransaction,
    boundary,
    commit,
    give_back,
    roll_back,
    unavailable,
)

ATTEMPTS = 6
# A frozen process must not keep row locks for ever. A setting of the transaction, not of the
# connection: behind a transaction pooler, the connection serves others too.
FROZEN_FOR = "; SET LOCAL idle_in_transaction_session_timeout = '15s'"
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" + FROZEN_FOR
CLOCK = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms"
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" + FROZEN_FOR
ALONE = (
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('image-edit-gateway ' || COALESCE(current_schema(), ''), 0))"
)
PATIENT_SECONDS = 3600.0
NAME = {"application_name": "image-edit-gateway"}


class PostgresDatabase:
    """The state in PostgreSQL, at a URL as libpq writes them, of one or several hosts.

    `writers` and `readers` are separate connections, so that money waiting for row locks never
    delays the key poll. While the server is down, each call raises StateUnavailable. Raises
    ValueError if the URL is ambiguous, or asks for a replica.
    """

    def __init__(
        self,
        url: str,
        *,
        writers: int = 8,
        readers: int = 4,
        connect_seconds: float = 5.0,
        command_seconds: float = 30.0,
    ) -> None:
        self._hosts = Hosts(url)
        self._size = writers + readers
        self._connect_seconds = connect_seconds
        self._command_seconds = command_seconds
        self._writers = asyncio.Semaphore(writers)
        self._batches = asyncio.Semaphore(1)
        self._readers = asyncio.Semaphore(readers)
        self._opening = asyncio.Lock()
        self._epoch = 0
        """Counts failures: connections that were opened before the last one are not used again."""
        self._pool: Any = None
        self._closed = False
        self._running: set[asyncio.Task[Any]] = set()

    async def write(
        self, operation: Operation[Result], *, urgent: bool = True, together: bool = False
    ) -> Result:
        if urgent:
            return await self._to_its_end(self._write(operation, self._command_seconds))
        return await self._to_its_end(self._write_batch(operation))

    async def exclusive(self, operation: Operation[Result]) -> Result:
        async def alone(transaction: Transaction) -> Result:
            await transaction.fetch(ALONE)
            return await operation(transaction)

        return await self._to_its_end(self._write(alone, PATIENT_SECONDS))

    async def read(self, operation: Operation[Result]) -> Result:
        if self._closed:
            raise StateUnavailable("the state's database is closed")
        async with self._turn(self._readers):
            return await self._repeated(READ, operation, self._command_seconds)

    async def clock_ms(self) -> int:
        async def ask(transaction: Transaction) -> int:
            rows = await transaction.fetch(CLOCK)
            return int(rows[0]["now_ms"])

        return await self.read(ask)

    async def close(self) -> None:
        """Wait for running operations, for at most a command's time, then close all connections."""
        self._closed = True
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._command_seconds)
            for task in late:
                task.cancel()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(self._connect_seconds):
                await pool.close()
        except (TimeoutError, *BROKEN, asyncpg.PostgresError):
            pool.terminate()

    async def _to_its_end(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await `work`, which continues if its caller is cancelled."""
        if self._closed:
            work.close()
            raise StateUnavailable("the state's database is closed")
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _write_batch(self, operation: Operation[Result]) -> Result:
        # One batch at a time, so that batches never occupy the connections that money needs.
        async with self._turn(self._batches):
            return await self._write(operation, self._command_seconds)

    async def _write(self, operation: Operation[Result], timeout_seconds: float) -> Result:
        async with self._turn(self._writers):
            return await self._repeated(WRITE, operation, timeout_seconds)

    @asynccontextmanager
    async def _turn(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._command_seconds):
                await places.acquire()
        except TimeoutError as error:
            raise StateUnavailable("every connection to the state's PostgreSQL is busy") from error
        try:
            yield
        finally:
            places.release()

    async def _repeated(
        self, begin: str, operation: Operation[Result], timeout_seconds: float
    ) -> Result:
        """Run in a transaction, and again after a deadlock or serialisation error."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0.001, 0.005 * 2**attempt))
            try:
                return await self._once(begin, operation, timeout_seconds)
            except AGAIN as error:
                last = error
        raise unavailable(last) from last

    async def _once(
        self, begin: str, operation: Operation[Result], timeout_seconds: float
    ) -> Result:
        async with self._connection() as connection:
            transaction = PostgresTransaction(connection, timeout_seconds)
            try:
                with boundary():
                    await connection.execute(begin)
                result = await transaction.run(operation)
            except BaseException as error:
                await roll_back(connection, error)
                raise
            await commit(connection)
            return result

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with boundary():
            pool = await self._opened()
            # A little more than connecting may take, which then says what is wrong.
            seconds = self._connect_seconds + 1
            try:
                connection = await pool.acquire(timeout=seconds)
                if connection.epoch < self._epoch:
                    connection.terminate()
                    connection = await pool.acquire(timeout=seconds)
            except ValueError:  # asyncpg's text has parts of the URL
                raise StateUnavailable(
                    "[state] url is not a URL of PostgreSQL: check its port and parameters, and "
                    "percent-encode the password"
                ) from None
        try:
            yield connection
        except StateUnavailable:
            # The others lead to the same server, which may be frozen: each would wait for it too.
            self._epoch += 1
            raise
        finally:
            await give_back(pool, connection, self._connect_seconds)

    async def _connect(self, _: None, **options: Any) -> PostgresConnection:
        epoch = self._epoch
        connection = await self._hosts.connect(options, self._connect_seconds)
        connection.epoch = epoch
        return connection

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                # Connections are opened when needed: a server that is down fails the call, not
                # the pool.
                self._pool = await asyncpg.create_pool(
                    connect=self._connect,
                    connection_class=PostgresConnection,
                    min_size=0,
                    max_size=self._size,
                    command_timeout=self._command_seconds,
                    server_settings=NAME,
                    # No statement outlives its transaction: a transaction pooler may run the
                    # next one on another connection to the server.
                    statement_cache_size=0,
                    reset=_leave_as_it_is,
                )
            return self._pool


async def _leave_as_it_is(connection: Any) -> None:
    """No reset: every transaction ends itself and sets nothing. Saves a round trip."""
