"""The end of a gateway's life: told to stop, it lets end what has begun and begins nothing new."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.telemetry.log import EventLog


class GracefulShutdown:
    """Whether the gateway is about to end, and how long what has begun may still take.

    The server finds it in the lifespan's state as `drain`.
    """

    def __init__(
        self,
        seconds: float,
        in_flight: Callable[[], int],
        log: EventLog,
        on_end: Callable[[], None] = lambda: None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._seconds = seconds
        self._in_flight = in_flight
        self._log = log
        self._on_end = on_end
        self._on_begin = on_begin
        self._until = 0.0
        self.under_way = False

    def begin(self) -> None:
        """From now on what is new is refused, and flights of other processes are not waited for.

        Only the first call does anything.
        """
        if self.under_way:
            return
        self.under_way = True
        self._on_begin()
        self._until = time.monotonic() + self._seconds
        if self.busy:
            self._log.info("draining", flights=self._in_flight(), at_most_seconds=self._seconds)

    def hurry(self) -> None:
        """Nothing is waited for any longer."""
        self.under_way = True
        self._until = time.monotonic()

    def end(self) -> None:
        """Time is up: flights that wait for their turn are let go, for nothing of them was sent."""
        self._on_end()

    @property
    def seconds_left(self) -> float:
        """How long what has begun may still take."""
        return max(0.0, self._until - time.monotonic())

    @property
    def busy(self) -> bool:
        """Are there flights in the air? Those whose clients have left count as well."""
        return self._in_flight() > 0
