"""When an open reservation counts as abandoned."""

from __future__ import annotations

from dataclasses import dataclass

HEARTBEAT_EXPIRY_MS = 30_000


@dataclass(frozen=True, slots=True)
class Abandonment:
    """A reservation is abandoned if its process is gone and no call can be as old as it is."""

    now_ms: int
    longest_flight_ms: int
    heartbeat_expiry_ms: int = HEARTBEAT_EXPIRY_MS

    @property
    def made_before_ms(self) -> int:
        return self.now_ms - self.longest_flight_ms

    @property
    def heartbeat_before_ms(self) -> int:
        return self.now_ms - self.heartbeat_expiry_ms

    def is_alive(self, heartbeat_ms: int | None) -> bool:
        """True if a process with this last heartbeat may still run."""
        return heartbeat_ms is not None and heartbeat_ms >= self.heartbeat_before_ms

    def applies(self, made_ms: int, heartbeat_ms: int | None) -> bool:
        return made_ms < self.made_before_ms and not self.is_alive(heartbeat_ms)
