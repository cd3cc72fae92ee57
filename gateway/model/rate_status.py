"""The state of a request rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateStatus:
    """The tightest request rate that a request is under."""

    limit: int
    remaining: int
    reset_seconds: int
