"""A circuit breaker: after consecutive failures no calls for a while, then one probe at a time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class CircuitBreaker:
    """Closed, every call may be made. `failures` in a row open the circuit; 0 disables it.

    Open, one call may be made every `open_seconds` as a probe; its success closes the circuit.
    Results of calls that began before the circuit opened or closed are ignored. A slow probe does
    not delay the next one. `now` comes from any monotonic clock.
    """

    failures: int
    open_seconds: float
    why: str = field(init=False, default="")
    """The code of the last failure, while the circuit is open."""
    _failures: int = field(init=False, default=0)
    _era: int = field(init=False, default=0)
    _next_probe: float | None = field(init=False, default=None)
    """When the next probe may be made; None while the circuit is closed."""

    @property
    def is_open(self) -> bool:
        return self._next_probe is not None

    def wait_seconds(self, now: float) -> float:
        """How long no call may be made; 0 if one may."""
        return 0.0 if self._next_probe is None else max(0.0, self._next_probe - now)

    def enter(self, now: float) -> int | None:
        """A ticket for one call, to report its result with; None where none may be made."""
        if self.wait_seconds(now) > 0:
            return None
        if self._next_probe is not None:
            self._next_probe = now + self.open_seconds
        return self._era

    def leave(self, ticket: int, now: float) -> None:
        """The call of this ticket was not made: another one may be the probe."""
        if self._next_probe is not None and ticket == self._era:
            self._next_probe = now

    def succeeded(self, ticket: int) -> bool:
        """The upstream answered. Returns True if that closes the circuit."""
        if ticket != self._era:
            return False
        self._failures = 0
        if self._next_probe is None:
            return False
        self._next_probe, self.why = None, ""
        self._era += 1
        return True

    def failed(self, ticket: int, now: float, why: str) -> bool:
        """The upstream failed. Returns True if that opens the closed circuit."""
        if ticket != self._era or not self.failures:
            return False
        self._failures += 1
        if self._next_probe is None and self._failures < self.failures:
            return False
        opens = self._next_probe is None
        self._next_probe, self.why = now + self.open_seconds, why
        self._era += opens
        return opens
