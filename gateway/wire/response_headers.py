"""The headers that say how a request was answered, what it cost and what is left."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.model.money import usd
from gateway.model.outcome import Outcome
from gateway.model.rate_status import RateStatus

CACHE_WORDS: Mapping[Outcome, str] = {
    Outcome.HIT: "HIT",
    Outcome.MISS: "MISS",
    Outcome.COALESCED: "COALESCED",
    Outcome.REFRESHED: "REFRESHED",
    Outcome.BYPASS: "BYPASS",
}
_FORWARDED: Mapping[Outcome, str] = {
    Outcome.MISS: "uri-miss",
    Outcome.COALESCED: "uri-miss",
    Outcome.REFRESHED: "request",
    Outcome.BYPASS: "bypass",
}


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """What happened in the cache, in the terms of RFC 9211."""

    outcome: Outcome
    key: str = ""
    stored: bool = False
    ttl_seconds: int | None = None
    detail: str = ""

    def header(self, ignored: Collection[str] = ()) -> str:
        """`gateway; hit; ttl=…; key="…"` or `gateway; fwd=uri-miss; stored; …`.

        `ignored` are the directives of a plain `Cache-Control` that were not obeyed.
        """
        parts = ["gateway"]
        if self.outcome is Outcome.HIT:
            parts.append("hit")
        elif reason := _FORWARDED.get(self.outcome):
            parts.append(f"fwd={reason}")
        if self.stored:
            parts.append("stored")
        if self.outcome is Outcome.COALESCED:
            parts.append("collapsed")
        if self.ttl_seconds is not None:
            parts.append(f"ttl={self.ttl_seconds}")
        if self.key:
            parts.append(f'key="{self.key}"')
        details = [self.detail] if self.detail else []
        details += [f"ignored-{word}" for word in ignored]
        if details:
            detail = ", ".join(details)
            parts.append(f'detail="{detail}"' if "," in detail else f"detail={detail}")
        return "; ".join(parts)


def money_headers(
    *, cost_nanos: int | None, saved_nanos: int, remaining_nanos: int | None
) -> dict[str, str]:
    """What this call cost its key, what it saved, and what is spendable now."""
    headers = {}
    if cost_nanos is not None:
        headers["x-gateway-cost-usd"] = usd(cost_nanos)
        headers["x-gateway-saved-usd"] = usd(saved_nanos)
    if remaining_nanos is not None:
        headers["x-gateway-budget-remaining-usd"] = usd(max(0, remaining_nanos))
    return headers


def references_header(count: int, cap: int | None) -> str:
    """`2/5`, or `2` where no cap is known."""
    return str(count) if cap is None else f"{count}/{cap}"


def server_timing(stages: Mapping[str, float]) -> str:
    """The stages with their milliseconds, in the order in which they ran."""
    return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items())


def rate_headers(status: RateStatus) -> dict[str, str]:
    """The rate limit as the IETF draft and as SDK users know it."""
    return {
        "ratelimit-policy": f'"requests";q={status.limit};w=60',
        "ratelimit": f'"requests";r={status.remaining};t={status.reset_seconds}',
        "x-ratelimit-limit-requests": str(status.limit),
        "x-ratelimit-remaining-requests": str(status.remaining),
        "x-ratelimit-reset-requests": f"{status.reset_seconds}s",
    }
