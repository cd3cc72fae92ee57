"""Limits for slow clients: the time to send a head, the time and the bytes of an answer."""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from collections import defaultdict
from collections.abc import Callable

OWNERS_SHARE = 4
"""One owner's answers may hold a quarter of what all may."""


class HeadTimeout:
    """Calls `on_timeout` if a head is not complete in time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, on_timeout: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._on_timeout = on_timeout
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the time limit, unless it runs."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._on_timeout)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AnswerTimeout:
    """Aborts a connection whose client accepts no byte of its answer for `seconds`.

    The abort comes at most twice `seconds` after the last accepted byte.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, transport: asyncio.Transport
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the time limit anew; no more must be written until the client has caught up."""
        self.stop()
        self._schedule(self._waiting_bytes())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, waiting_bytes: int) -> None:
        self._timer = self._loop.call_later(self._seconds, self._check, waiting_bytes)

    def _check(self, waited_bytes: int) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        waiting_bytes = self._waiting_bytes()
        if waiting_bytes >= waited_bytes:
            self._transport.abort()
        else:
            self._schedule(waiting_bytes)

    def _waiting_bytes(self) -> int:
        """The bytes that the client has not acknowledged, in our buffer and in the system's.

        The system's buffer takes megabytes at a time: ours alone may not change for minutes
        while a slow client reads steadily.
        """
        fileno = self._transport.get_extra_info("socket").fileno()
        return self._transport.get_write_buffer_size() + queued_bytes(fileno, termios.TIOCOUTQ)


class UnsentAnswers:
    """Bounds the bytes of answers that clients do not accept, in all and for each owner.

    The largest of an owner that holds too much is aborted: the client that accepts least.
    """

    def __init__(self) -> None:
        self._owners: dict[asyncio.Transport, bytes | str] = {}
        self._bytes: dict[asyncio.Transport, int] = {}
        """As they were when the transport was added."""
        self._total = 0

    def add(self, transport: asyncio.Transport, owner: bytes | str, max_bytes: int) -> None:
        """Count this transport's unsent bytes until `discard`, and abort others if necessary."""
        self.discard(transport)
        self._owners[transport] = owner
        self._bytes[transport] = size = transport.get_write_buffer_size()
        self._total += size
        if self._total > max_bytes // OWNERS_SHARE:
            self._shrink(max_bytes)

    def discard(self, transport: asyncio.Transport) -> None:
        self._total -= self._bytes.pop(transport, 0)
        self._owners.pop(transport, None)

    def _shrink(self, max_bytes: int) -> None:
        held = defaultdict[bytes | str, dict[asyncio.Transport, int]](dict)
        for transport, owner in self._owners.items():
            held[owner][transport] = transport.get_write_buffer_size()
        totals = {owner: sum(sizes.values()) for owner, sizes in held.items()}
        while len(self._owners) > 1:
            owner = max(totals, key=totals.__getitem__)
            over_share = totals[owner] > max_bytes // OWNERS_SHARE and len(held[owner]) > 1
            if not over_share and sum(totals.values()) <= max_bytes:
                break
            largest = max(held[owner], key=held[owner].__getitem__)
            totals[owner] -= held[owner].pop(largest)
            self.discard(largest)
            largest.abort()


def queued_bytes(fileno: int, which: int) -> int:
    """The bytes in the system's buffer of a socket, 0 if unknown.

    `FIONREAD`: readable at once. `TIOCOUTQ`: not acknowledged by the other side.
    """
    found = array.array("i", [0])
    try:
        fcntl.ioctl(fileno, which, found)
    except OSError:
        return 0
    return found[0]
