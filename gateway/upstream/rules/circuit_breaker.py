"""A circuit: after failures in a row nobody asks for a while, and then one at a time."""

from __future__ import annotations


class CircuitBreaker:
    """Closed, every call may go. `failures` in a row open it; 0 of them never do.

    Open, one call may go every `open_seconds`, to find out: if it succeeds the circuit closes.
    What was sent before it opened or closed says nothing new, and is not heard. A call that
    takes long does not keep others from finding out. `now` is of any clock that only goes
    forward.
    """

    def __init__(self, failures: int, open_seconds: float) -> None:
        self._most_failures = failures
        self._open_seconds = open_seconds
        self._failures = 0
        self._era = 0
        self._next_probe: float | None = None
        """When the next call may go; None while the circuit is closed."""
        self.why = ""
        """What the last failure was, while the circuit is open."""

    @property
    def is_open(self) -> bool:
        return self._next_probe is not None

    def wait_seconds(self, now: float) -> float:
        """For how long no call may go; 0 where one may."""
        return 0.0 if self._next_probe is None else max(0.0, self._next_probe - now)

    def enter(self, now: float) -> int | None:
        """A ticket for one call, to be handed in with how it went; None where none may go."""
        if self.wait_seconds(now) > 0:
            return None
        if self._next_probe is not None:
            self._next_probe = now + self._open_seconds
        return self._era

    def leave(self, ticket: int, now: float) -> None:
        """The call of this ticket was not made after all: another one may find out."""
        if self._next_probe is not None and ticket == self._era:
            self._next_probe = now

    def succeeded(self, ticket: int) -> bool:
        """The upstream does answer. True where that closes the circuit."""
        if ticket != self._era:
            return False
        self._failures = 0
        if self._next_probe is None:
            return False
        self._next_probe, self.why = None, ""
        self._era += 1
        return True

    def failed(self, ticket: int, now: float, why: str) -> bool:
        """The upstream failed. True where that opens the circuit, which was closed."""
        if ticket != self._era or not self._most_failures:
            return False
        self._failures += 1
        if self._next_probe is None and self._failures < self._most_failures:
            return False
        opens = self._next_probe is None
        self._next_probe, self.why = now + self._open_seconds, why
        self._era += opens
        return opens
