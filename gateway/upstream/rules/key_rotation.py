"""Which of several keys of one upstream account a call goes out with."""

from __future__ import annotations

REFUSED_SECONDS = 60.0
"""For how long others are preferred to a key that was refused (401, 403)."""
BUSY_SECONDS = 1.0
"""How long a key rests after a 429 that does not say."""
LONGEST_REST_SECONDS = 300.0


class KeyRotation:
    """Keys by their number, in turn; those that were told to wait are left alone that long.

    A refused key is only used where all are: whether that is the account's trouble or has passed
    can't be known without asking. `now` is of any clock that only goes forward.
    """

    def __init__(self, count: int) -> None:
        self._busy_until = [float("-inf")] * count
        self._refused_until = [float("-inf")] * count
        self._last = count - 1
        self._all_well = True
        """No key was ever told to wait, nor refused."""

    def backoff_seconds(self, now: float) -> float:
        """For how long no key may be used; 0 where one may."""
        if self._all_well:
            return 0.0
        return max(0.0, min(self._busy_until[key] for key in self._good(now)) - now)

    def has_good(self, now: float) -> bool:
        """Is there a key that was not refused of late?"""
        return self.refused(now) < len(self._refused_until)

    def refused(self, now: float) -> int:
        """How many keys were refused of late."""
        return sum(until > now for until in self._refused_until)

    def take(self, now: float) -> int:
        """The key whose turn it is; of keys that all rest, the one that may be used first."""
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
        """Take in what the upstream said to this key; `retry_after` in seconds, if it said."""
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
