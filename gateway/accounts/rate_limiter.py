"""Who is waiting, and how fast requests come: the limits that hold before a body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from gateway.accounts.rules.rate_leases import RateLeases, minute_ends_ms, minute_of
from gateway.database.database import StateUnavailable
from gateway.model.caller import Account, Caller
from gateway.model.errors import Refusal
from gateway.model.rate_status import RateStatus
from gateway.model.units import time_text

Lease = Callable[[str, int, int, int], Awaitable[tuple[int, int]]]
"""(account, minute, want, limit) → what was granted, and what is leased of it in all."""


class Waiting:
    """A place of a waiting client, at each of its accounts, for as long as it is entered."""

    def __init__(self, counts: dict[str, int], accounts: Sequence[str]) -> None:
        self._counts = counts
        self._accounts = accounts

    def __enter__(self) -> None:
        for name in self._accounts:
            self._counts[name] = self._counts.get(name, 0) + 1

    def __exit__(self, *_: object) -> None:
        for name in self._accounts:
            left = self._counts[name] - 1
            if left:
                self._counts[name] = left
            else:
                del self._counts[name]


class RateLimiter:
    """Counts waiting clients of this process and draws on the shared rate of all."""

    def __init__(self, *, lease: Lease) -> None:
        self._lease = lease
        self._leases = RateLeases()
        self._waiting: dict[str, int] = {}

    def waiting(self, caller: Caller) -> Waiting:
        """Hold a place for one waiting client. Raises `rate_limit_exceeded` where none is left."""
        for account in caller.accounts:
            limit = account.limits.max_in_flight
            if limit is not None and self._waiting.get(account.id, 0) >= limit:
                raise _too_many_in_flight(account, limit)
        return Waiting(self._waiting, [account.id for account in caller.accounts])

    async def admit(self, caller: Caller, now_ms: int) -> RateStatus | None:
        """Take one request off every rate it is under. Raises `rate_limit_exceeded`."""
        accounts = {
            account.id: account
            for account in caller.accounts
            if account.limits.requests_per_minute is not None
        }
        if not accounts:
            return None
        limits = {name: a.limits.requests_per_minute or 0 for name, a in accounts.items()}
        minute = minute_of(now_ms)
        reset_seconds = -(-(minute_ends_ms(minute) - now_ms) // 1000)
        self._leases.sweep(minute - 1)
        while not self._leases.take(list(limits), minute):
            for name, limit in limits.items():
                await self._top_up(name, limit, minute)
            if dry := self._leases.dry(limits, minute):
                raise _too_fast(accounts[dry], limits[dry], minute_ends_ms(minute), reset_seconds)
        left = {name: self._leases.remaining(name, limits[name], minute) for name in limits}
        tightest = min(limits, key=lambda name: left[name])
        return RateStatus(limits[tightest], left[tightest], reset_seconds)

    async def _top_up(self, name: str, limit: int, minute: int) -> None:
        if want := self._leases.wants(name, limit, minute):
            try:
                granted, leased = await self._lease(name, minute, want, limit)
            except StateUnavailable:
                # Hits go on without the state; the limit is then held by each process alone.
                left = self._leases.remaining(name, limit, minute)
                granted = min(want, left)
                leased = limit - left + granted
            self._leases.put(name, minute, granted=granted, leased=leased, limit=limit)


def _too_many_in_flight(account: Account, limit: int) -> Refusal:
    return Refusal(
        "rate_limit_exceeded",
        f"This {account.level} already has {limit} requests waiting, which is its limit; wait "
        "for one to finish.",
        facts={
            "level": account.level,
            "limit_name": "max_in_flight",
            "limit": limit,
            "spent": 0,
            "held": limit,
            "resets_at": None,
        },
        retry_after_seconds=1,
    )


def _too_fast(account: Account, limit: int, resets_ms: int, reset_seconds: int) -> Refusal:
    return Refusal(
        "rate_limit_exceeded",
        f"This {account.level} may make {limit} requests a minute and has made them; wait "
        f"{reset_seconds} seconds.",
        facts={
            "level": account.level,
            "limit_name": "requests_per_minute",
            "limit": limit,
            "spent": limit,
            "held": 0,
            "resets_at": time_text(resets_ms),
        },
        retry_after_seconds=reset_seconds,
        pace=RateStatus(limit, 0, reset_seconds),
    )
