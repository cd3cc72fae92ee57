"""The outcomes of a request."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a request, in headers, metrics, the event log and usage rows."""

    HIT = "hit"
    MISS = "miss"
    COALESCED = "coalesced"
    REFRESHED = "refreshed"
    BYPASS = "bypass"
    REFUSED = "refused"
    FAILED = "failed"
