"""The part of the answered requests that came from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model.outcome import Outcome

_ANSWERED = (Outcome.HIT, Outcome.MISS, Outcome.COALESCED, Outcome.REFRESHED, Outcome.BYPASS)


def hit_share(line: Mapping[str, Any]) -> float | None:
    """Of a line of a usage report, 0 to 1; None where nothing was answered."""
    outcomes: Mapping[str, int] = line["outcomes"]
    answered = sum(outcomes.get(outcome, 0) for outcome in _ANSWERED)
    return line["hits"] / answered if answered else None
