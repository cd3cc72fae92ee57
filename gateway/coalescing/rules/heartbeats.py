"""Whether the processes that own leases are alive, by their heartbeats."""

from __future__ import annotations

_LONGEST_STEP_SECONDS = 1.0


class HeartbeatTracker:
    """Which processes have stopped: no change of the heartbeat for `silent_seconds`.

    Clocks of machines differ, so a heartbeat counts when it is seen to change, by the clock of
    the process that looks. Time in which the state could not be read does not count.
    """

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._seen: dict[str, tuple[int | None, float, float]] = {}

    def has_stopped(self, owner_id: str, heartbeat_ms: int | None, now_seconds: float) -> bool:
        """Take in a heartbeat that was read at `now_seconds` of a monotonic clock."""
        before, silent, at = self._seen.get(owner_id, (heartbeat_ms, 0.0, now_seconds))
        still = before == heartbeat_ms
        silent = silent + min(now_seconds - at, _LONGEST_STEP_SECONDS) if still else 0.0
        self._seen[owner_id] = (heartbeat_ms, silent, now_seconds)
        return silent >= self._silent_seconds

    def forget(self) -> None:
        """Start again: the state could not be read, or no process is watched."""
        self._seen.clear()
