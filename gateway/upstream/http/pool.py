"""Connections that are kept for the next call, for a short while."""

from __future__ import annotations

from weakref import WeakSet

import httpx

from gateway.upstream.http.connection import READ_BYTES, Connection
from gateway.upstream.http.dialling import Dialler


class Pool:
    """A call takes a connection to itself; all of them are to one host."""

    def __init__(self, dialler: Dialler, *, idle_seconds: float) -> None:
        self._dialler = dialler
        self._idle_seconds = idle_seconds
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._idle: list[Connection] = []
        self._open = WeakSet[Connection]()
        self._closed = False

    async def take(self, url: httpx.URL, connect_seconds: float) -> Connection:
        """The connection that was used last, or a new one. Raises what dialling does."""
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh:
                return connection
            connection.abort()
        connection = await self._dialler.dial(url, self._make, connect_seconds)
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
