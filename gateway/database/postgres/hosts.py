"""Connections to the host that takes writes, of the one or several hosts of a URL."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import asyncpg

from gateway.database.database import StateUnavailable
from gateway.database.postgres.transaction import BROKEN, described

_WRITING = ("any", "primary", "read-write")
# Only a server that takes writes can begin this. It is one message: one round trip, and one
# transaction for a pooler.
_TAKES_WRITES = "BEGIN READ WRITE; COMMIT"
# A host that is lost sends nothing, not even that it is. A connection ends if what was sent stays
# unacknowledged for ten seconds; while it waits for an answer or is idle, the host is probed.
_NOTICE_A_LOST_HOST = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}


class PostgresConnection(asyncpg.Connection):  # type: ignore[misc]
    """One that ends when its host is lost, and knows in which epoch of its pool it was opened."""

    epoch = 0

    def __init__(self, protocol: Any, transport: Any, *more: Any) -> None:
        super().__init__(protocol, transport, *more)
        line = transport.get_extra_info("socket")
        if line.family != socket.AF_UNIX:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _NOTICE_A_LOST_HOST.items():
                if hasattr(socket, name):  # not on every system
                    line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Hosts:
    """The hosts of a URL. Raises ValueError if it is ambiguous, or asks for a replica."""

    def __init__(self, url: str) -> None:
        self._urls = _urls_by_host(url)
        self._last = ""
        """The host that was connected to last; it is tried first."""

    async def connect(self, options: Mapping[str, Any], seconds: float) -> PostgresConnection:
        """Connect to the first host that takes writes, each within its share of the time.

        A single host is not asked: if it is a replica, the first transaction says so.
        """
        failures = []
        several = len(self._urls) > 1
        for host in sorted(self._urls, key=lambda host: host != self._last):
            try:
                async with asyncio.timeout(seconds / len(self._urls)):
                    connection = await _open(self._urls[host], options, is_asked=several)
            except ValueError:  # the URL can't be read
                raise
            except (asyncpg.PostgresError, *BROKEN) as error:
                if not several:
                    raise
                failures.append(f"{host}: {described(error)[0]}")
            else:
                self._last = host
                return connection
        reason = "none of its hosts takes writes"
        raise StateUnavailable(
            f"the state's PostgreSQL cannot be used: {reason} ({'; '.join(failures)})", reason
        )


async def _open(url: str, options: Mapping[str, Any], *, is_asked: bool) -> PostgresConnection:
    # asyncpg would ask by a prepared statement outside a transaction, which a pooler may send to
    # two servers.
    connection: PostgresConnection = await asyncpg.connect(
        url, target_session_attrs="any", **options
    )
    try:
        if is_asked:
            await connection.execute(_TAKES_WRITES)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _urls_by_host(url: str) -> Mapping[str, str]:
    """A URL for each host alone. An error has no part of it: that may be one of the password."""
    authority, path, query = re.fullmatch(r"[a-z]+://([^/?]*)([^?]*)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]
    outside = "@" in url and "@" not in authority
    if "#" in url or authority.count("@") > 1 or "@" in path or outside:
        raise ValueError(
            "the URL is ambiguous: percent-encode the password (# is %23, / is %2F, ? is %3F, "
            "@ is %40)"
        )
    (wanted,) = parse_qs(query[1:]).get("target_session_attrs", ["read-write"])[-1:]
    if wanted not in _WRITING:
        raise ValueError("the gateway writes: target_session_attrs must be read-write, or left out")
    user, at, hosts = authority.rpartition("@")
    scheme = url.partition("://")[0]
    return {host: f"{scheme}://{user}{at}{host}{path}{query}" for host in hosts.split(",")}
