"""Limits that are checked before a body is read: requests in flight and requests per minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from gateway.accounts.rules.rate_leases import RateLeases, minute_ends_ms, minute_of
from gateway.accounts.tables import rate_leases
from gateway.database.database import Database, StateUnavailable
from gateway.model.caller import Account, Caller, RateStatus
from gateway.model.errors import Refusal
from gateway.model.units import time_text


class RateLimiter:
    """Counts this process's requests in flight, and takes requests from the shared rate."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = RateLeases()
        self._waiting: Counter[str] = Counter()

    def waiting(self, caller: Caller) -> AbstractContextManager[None]:
        """Count one request in flight while the context is entered.

        Raises `rate_limit_exceeded` at a limit, before it is entered.
        """
        for account in caller.accounts:
            limit = account.limits.max_in_flight
            if limit is not None and self._waiting[account.id] >= limit:
                raise _too_many_in_flight(account, limit)
        return self._counted([account.id for account in caller.accounts])

    @contextmanager
    def _counted(self, accounts: Sequence[str]) -> Iterator[None]:
        self._waiting.update(accounts)
        try:
            yield
        finally:
            self._waiting.subtract(accounts)
            for name in accounts:
                if not self._waiting[name]:
                    del self._waiting[name]

    async def admit(self, caller: Caller, now_ms: int) -> RateStatus | None:
        """Take one request from the rate of every account. Raises `rate_limit_exceeded`."""
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
            if used_up := self._leases.used_up(limits, minute):
                raise _too_fast(
                    accounts[used_up], limits[used_up], minute_ends_ms(minute), reset_seconds
                )
        left = {name: self._leases.remaining(name, limits[name], minute) for name in limits}
        tightest = min(limits, key=lambda name: left[name])
        return RateStatus(limits[tightest], left[tightest], reset_seconds)

    async def _top_up(self, name: str, limit: int, minute: int) -> None:
        if want := self._leases.to_lease(name, limit, minute):
            try:
                taken = await self._database.write(
                    lambda tx: rate_leases.lease(tx, name, minute, want, limit)
                )
                granted, leased = taken.granted, taken.leased
            except StateUnavailable:
                # Without the state hits are still served; each process then limits by itself.
                left = self._leases.remaining(name, limit, minute)
                granted = min(want, left)
                leased = limit - left + granted
            self._leases.add(name, minute, granted=granted, leased=leased, limit=limit)


def _too_many_in_flight(account: Account, limit: int) -> Refusal:
    return Refusal(
        "rate_limit_exceeded",
        f"This {account.level} already has {limit} requests in flight, its limit; wait for "
        "one to finish.",
        facts=_facts(account, "max_in_flight", limit, held=limit),
        retry_after_seconds=1,
    )


def _too_fast(account: Account, limit: int, resets_ms: int, reset_seconds: int) -> Refusal:
    return Refusal(
        "rate_limit_exceeded",
        f"This {account.level} has made {limit} requests in this minute, its limit; wait "
        f"{reset_seconds} seconds.",
        facts=_facts(
            account, "requests_per_minute", limit, spent=limit, resets_at=time_text(resets_ms)
        ),
        retry_after_seconds=reset_seconds,
        rate_status=RateStatus(limit, 0, reset_seconds),
    )


def _facts(account: Account, limit_name: str, limit: int, **usage: object) -> dict[str, object]:
    what = {"level": account.level, "limit_name": limit_name, "limit": limit}
    return {**what, "spent": 0, "held": 0, "resets_at": None, **usage}
