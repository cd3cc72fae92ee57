"""A limit on guesses of keys: failed keys are counted by client address."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from gateway.model.errors import Refusal

MOST_FAILURES = 30
WINDOW_MS = 60_000
MOST_ADDRESSES = 10_000


class GuessThrottle:
    """Failed keys of the current minute by address; at the bound, the oldest address is dropped."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def failed(self, address: str, now_ms: int) -> None:
        """Count an invalid key from this address. Raises `too_many_failures` at the limit."""
        network = _network(address)
        started_ms, count = self._failures.pop(network, (now_ms, 0))
        if now_ms - started_ms >= WINDOW_MS:
            started_ms, count = now_ms, 0
        self._failures[network] = (started_ms, count + 1)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        if count >= MOST_FAILURES:
            raise _stopped(started_ms, now_ms)

    def check(self, address: str, now_ms: int) -> None:
        """Raises `too_many_failures` at the limit, without counting."""
        started_ms, count = self._failures.get(_network(address), (now_ms, 0))
        if count >= MOST_FAILURES and now_ms - started_ms < WINDOW_MS:
            raise _stopped(started_ms, now_ms)


def _stopped(started_ms: int, now_ms: int) -> Refusal:
    seconds = -(-(started_ms + WINDOW_MS - now_ms) // 1000)
    return Refusal(
        "too_many_failures",
        f"Too many requests with a key that is not valid came from this address; wait "
        f"{seconds} seconds and check the key.",
        retry_after_seconds=seconds,
    )


def _network(address: str) -> str:
    """The address, or the /64 network of an IPv6 address; "" for anything else."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
