"""What happened in the cache: the words of `X-Gateway-Cache`, and `Cache-Status` (RFC 9211)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.model.outcome import Outcome

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
