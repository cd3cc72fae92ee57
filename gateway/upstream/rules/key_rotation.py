"""Chooses the upstream key of a call, where an account has several."""

from __future__ import annotations

REFUSED_SECONDS = 60.0
"""How long other keys are preferred to a key that was refused (401, 403)."""
BUSY_SECONDS = 1.0
"""How long a key rests after a 429 without `Retry-After`."""
LONGEST_REST_SECONDS = 300.0


class KeyRotation:
    """Keys by their number, in turn; a key that was asked to wait rests for that time.

    A refused key is used only where all are refused: only a call shows whether the cause has
    passed. `now` comes from any monotonic clock.
    """

    def __init__(self, count: int) -> None:
        self._busy_until = [float("-inf")] * count
        self._refused_until = [float("-inf")] * count
        self._last = count - 1
        self._all_well = True
        """No key has ever been asked to wait, or refused."""

    def backoff_seconds(self, now: float) -> float:
        """How long no key may be used; 0 if one may."""
        if self._all_well:
            return 0.0
        return max(0.0, min(self._busy_until[key] for key in self._good(now)) - now)

    def has_good(self, now: float) -> bool:
        """Is there a key that was not refused recently?"""
        return self.refused(now) < len(self._refused_until)

    def refused(self, now: float) -> int:
        """The number of keys that were refused recently."""
        return sum(until > now for until in self._refused_until)

    def take(self, now: float) -> int:
        """The key whose turn it is; if all rest, the one whose rest ends first."""
        count = len(self._busy_until)
        if self._all_well:
            self._last = (self._last + 1) % count
            return self._last
        good = self._good(now)
        awake = [key for key in good if self._busy_until[key] <= now]
        if awake:
            self._last = min(awake, key=lambda key: (key - self._last - 1) % count)
        else:
            self._last = min(good, key=lambda key: self._busy_until[key])
        return self._last

    def record_answer(self, key: int, status: int, retry_after: float | None, now: float) -> None:
        """Record an answer to a call with this key; `retry_after` in seconds, if given."""
        self._all_well = self._all_well and status not in (401, 403, 429)
        if status == 429:
            rest = BUSY_SECONDS if retry_after is None else retry_after
            self._busy_until[key] = now + min(rest, LONGEST_REST_SECONDS)
        elif status in (401, 403):
            self._refused_until[key] = now + REFUSED_SECONDS
        elif status < 300:
            self._refused_until[key] = now

    def _good(self, now: float) -> list[int]:
        every = range(len(self._refused_until))
        return [key for key in every if self._refused_until[key] <= now] or list(every)
