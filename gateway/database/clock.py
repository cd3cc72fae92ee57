"""The clock that money, rates and heartbeats go by: the state's, as near as it can be known.

Processes of one state must agree on which minute and which day it is, also where the clocks of
their machines do not.
"""

from __future__ import annotations

import time

from gateway.database.database import Database


def now_ms() -> int:
    """Unix milliseconds by this machine's own clock."""
    return time.time_ns() // 1_000_000


class Clock:
    """Called, it gives unix milliseconds by the state's clock."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.offset_ms

    async def measure(self, database: Database) -> int:
        """Ask the state what time it is; gives the offset. Raises StateUnavailable.

        Half of the question's way is taken off, as the answer is that old.
        """
        asked_ms = now_ms()
        theirs_ms = await database.clock_ms()
        answered_ms = now_ms()
        self.offset_ms = theirs_ms - (asked_ms + answered_ms) // 2
        return self.offset_ms
