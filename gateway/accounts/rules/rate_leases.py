"""Rates: leases of a minute's requests, kept in a process's memory.

The state counts what was leased for each account and minute; a process takes requests from
what it holds. A minute that ends, ends its leases: what a dead process held runs out.
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
    """How many requests a process leases at once: a second's worth of the limit, at least 1.

    So a process at the limit asks the state about once a second and account, and what it
    leaves idle at the minute's end is at most a sixtieth of the limit.
    """
    return max(1, limit // 60)


@dataclass(slots=True)
class _Held:
    """What this process holds of one account's minute, and what the state last said of it."""

    left: int = 0
    leased: int = 0
    dry_at: int | None = None
    """The limit at which the state had nothing left to give this minute."""


class RateLeases:
    """The leases of one process. It never waits and never asks: whoever holds it does.

    A minute is kept apart from the next, so that an answer of the state that comes just
    after the minute has turned can't be used in the new one. `sweep` forgets old minutes.
    """

    def __init__(self) -> None:
        self._held: defaultdict[tuple[str, int], _Held] = defaultdict(_Held)

    def take(self, accounts: Sequence[str], minute: int) -> bool:
        """Use up one request of every account, or of none where one of them has none left."""
        held = [self._held[account, minute] for account in accounts]
        if any(each.left < 1 for each in held):
            return False
        for each in held:
            each.left -= 1
        return True

    def wants(self, account: str, limit: int, minute: int) -> int:
        """How many to lease now: 0 where some are left, or where this limit is used up."""
        held = self._held[account, minute]
        if held.left > 0 or (held.dry_at is not None and limit <= held.dry_at):
            return 0
        return lease_size(limit)

    def dry(self, limits: Mapping[str, int], minute: int) -> str | None:
        """The first of these accounts, each with its limit, whose minute is used up."""
        for account, limit in limits.items():
            held = self._held[account, minute]
            if held.left < 1 and held.dry_at is not None and limit <= held.dry_at:
                return account
        return None

    def put(self, account: str, minute: int, *, granted: int, leased: int, limit: int) -> None:
        """Take in what the state granted; `leased` is the minute's sum over all processes."""
        held = self._held[account, minute]
        held.left += granted
        held.leased = leased
        held.dry_at = limit if granted == 0 else None

    def remaining(self, account: str, limit: int, minute: int) -> int:
        """What this process can still expect this minute: what it holds and what is not leased."""
        held = self._held[account, minute]
        return held.left + max(0, limit - held.leased)

    def sweep(self, before_minute: int) -> None:
        """Forget the minutes before this one."""
        for key in [key for key in self._held if key[1] < before_minute]:
            del self._held[key]
