"""The outcomes of a request."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended: the one vocabulary of header, metric, journal and usage row."""

    HIT = "hit"
    MISS = "miss"
    COALESCED = "coalesced"
    REFRESHED = "refreshed"
    BYPASS = "bypass"
    REFUSED = "refused"
    FAILED = "failed"
