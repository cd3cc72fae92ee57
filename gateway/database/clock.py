"""The state's clock, for money, rates and heartbeats.

Processes of one state must agree on the minute and the day, even if their machines' clocks differ.
"""

from __future__ import annotations

import time

from gateway.database.database import Database

# Linux has one that also counts while the machine is suspended.
_RUNNING: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """Unix milliseconds by this machine's clock."""
    return time.time_ns() // 1_000_000


def _running_ms() -> int:
    """Milliseconds by a clock that nobody sets."""
    return time.clock_gettime_ns(_RUNNING) // 1_000_000


class Clock:
    """Returns unix milliseconds by the state's clock when called.

    A step of this machine's clock changes nothing before the state's clock is measured again: keys
    would look stale, and remembered failures forgotten.
    """

    def __init__(self) -> None:
        self._began_ms = now_ms() - _running_ms()

    def __call__(self) -> int:
        return self._began_ms + _running_ms()

    async def measure(self, database: Database) -> int:
        """Follow the state's clock; returns how far it is ahead. Raises StateUnavailable.

        The answer's age is unknown, but at most the round trip. A clock that may be right by that
        stays: a state that was paused meanwhile would put it wrong by half of the pause.
        """
        before_ms = _running_ms()
        theirs_ms = await database.clock_ms()
        earliest_ms, latest_ms = theirs_ms - _running_ms(), theirs_ms - before_ms
        if not earliest_ms <= self._began_ms <= latest_ms:
            self._began_ms = (earliest_ms + latest_ms) // 2
        return self() - now_ms()
