"""The state's clock, for money, rates and heartbeats.

Processes of one state must agree on the minute and the day, even if their machines' clocks differ.
"""

from __future__ import annotations

import time

from gateway.database.database import Database


def now_ms() -> int:
    """Unix milliseconds by this machine's clock."""
    return time.time_ns() // 1_000_000


class Clock:
    """Returns unix milliseconds by the state's clock when called."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.offset_ms

    async def measure(self, database: Database) -> int:
        """Measure and return the offset of the state's clock. Raises StateUnavailable.

        Half of the round trip is subtracted, the probable age of the answer.
        """
        before_ms = now_ms()
        theirs_ms = await database.clock_ms()
        self.offset_ms = theirs_ms - (before_ms + now_ms()) // 2
        return self.offset_ms
