"""Request rates: the requests of a minute that a process has leased, in memory.

The state counts the leased requests of each account and minute. A lease ends with its minute, so
what a dead process had leased expires.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MINUTE_MS = 60_000


def minute_of(now_ms: int) -> int:
    """The minute, by the state's clock, that holds this instant."""
    return now_ms // MINUTE_MS


def minute_ends_ms(minute: int) -> int:
    """The first instant after this minute."""
    return (minute + 1) * MINUTE_MS


def lease_size(limit: int) -> int:
    """The requests that a process leases at once: those of one second at the limit, at least 1.

    So a process asks the state about once a second, and leaves at most a sixtieth unused.
    """
    return max(1, limit // 60)


@dataclass(slots=True)
class _Held:
    """The requests that this process has left of an account's minute; `leased` by all."""

    left: int = 0
    leased: int = 0
    used_up_at: int | None = None
    """The limit at which the state granted nothing more this minute."""


class RateLeases:
    """The leases of one process, by account and minute."""

    def __init__(self) -> None:
        self._held: defaultdict[tuple[str, int], _Held] = defaultdict(_Held)

    def take(self, accounts: Sequence[str], minute: int) -> bool:
        """Use one request of every account, or none where an account has none left."""
        held = [self._held[account, minute] for account in accounts]
        if any(each.left < 1 for each in held):
            return False
        for each in held:
            each.left -= 1
        return True

    def to_lease(self, account: str, limit: int, minute: int) -> int:
        """The requests to lease now: 0 where some are left, or the limit is used up."""
        held = self._held[account, minute]
        if held.left > 0 or (held.used_up_at is not None and limit <= held.used_up_at):
            return 0
        return lease_size(limit)

    def used_up(self, limits: Mapping[str, int], minute: int) -> str | None:
        """The first account whose limit is used up this minute."""
        for account, limit in limits.items():
            held = self._held[account, minute]
            if held.left < 1 and held.used_up_at is not None and limit <= held.used_up_at:
                return account
        return None

    def add(self, account: str, minute: int, *, granted: int, leased: int, limit: int) -> None:
        """Add granted requests; `leased` is the minute's sum over all processes."""
        held = self._held[account, minute]
        held.left += granted
        held.leased = leased
        held.used_up_at = limit if granted == 0 else None

    def remaining(self, account: str, limit: int, minute: int) -> int:
        """The requests left this minute: this process's own, and those that nobody has leased."""
        held = self._held[account, minute]
        return held.left + max(0, limit - held.leased)

    def sweep(self, before_minute: int) -> None:
        """Forget the minutes before this one."""
        for key in [key for key in self._held if key[1] < before_minute]:
            del self._held[key]
