"""A limit on sign-ins: each is a row of the audit, which is kept for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.model.errors import Refusal

MOST_IN_A_MINUTE = 30
_MINUTE_MS = 60_000


@dataclass(slots=True)
class SignInRate:
    """The sign-ins of the current minute, by who signs in."""

    _minute: int = field(init=False, default=0)
    _counts: Counter[str] = field(init=False, default_factory=Counter)

    def count(self, actor: str, now_ms: int) -> None:
        """Count one more. Raises `rate_limit_exceeded` above the limit."""
        minute, passed_ms = divmod(now_ms, _MINUTE_MS)
        if minute != self._minute:
            self._minute, self._counts = minute, Counter()
        self._counts[actor] += 1
        if self._counts[actor] > MOST_IN_A_MINUTE:
            raise Refusal(
                "rate_limit_exceeded",
                f"You have signed in {MOST_IN_A_MINUTE} times in this minute: wait for the next.",
                retry_after_seconds=(_MINUTE_MS - passed_ms) / 1000,
            )
