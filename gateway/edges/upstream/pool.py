"""Connections that are kept for the next call, for a short while."""

from __future__ import annotations

from weakref import WeakSet

from gateway.edges.upstream.connection import READ_BYTES, Connection
from gateway.edges.upstream.dialling import Dialler

IDLE_SECONDS = 2.0
"""After which a connection is not used again. Many servers close theirs after 5 seconds: a call
that crosses such a close has left, and would have to be booked though nobody has read it."""


class Pool:
    """A call takes a connection to itself; how many calls there are is bounded by who calls."""

    def __init__(self, dialler: Dialler, *, connect_seconds: float, idle_seconds: float) -> None:
        self._dialler = dialler
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._idle: list[Connection] = []
        self._open = WeakSet[Connection]()
        self._closed = False

    async def take(self) -> Connection:
        """The connection that was used last, or a new one. Raises what dialling does."""
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh:
                return connection
            connection.abort()
        connection = await self._dialler.dial(self._make, self._connect_seconds)
        if self._closed:
            connection.abort()
            raise ConnectionError("the upstream's connections are closed")
        return connection

    def give_back(self, connection: Connection) -> None:
        """It may serve another call."""
        self._idle.append(connection)
        connection.close_after(self._idle_seconds)

    def close(self) -> None:
        """End all of them, those of calls under way too."""
        self._closed = True
        for connection in list(self._open):
            connection.abort()

    def _make(self) -> Connection:
        connection = Connection(self._buffer, self._lost)
        self._open.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
