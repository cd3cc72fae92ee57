"""May an upstream call be tried again, and when: only where it can't buy twice."""

from __future__ import annotations

import re
from dataclasses import dataclass

RETRIED_STATUSES = frozenset({429, 503})
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more after this many seconds."""

    wait_seconds: float


def again(
    *, attempt: int, max_attempts: int, retry_after: str, jitter: float, seconds_left: float
) -> Again | None:
    """The next try of a call that was not carried out, or None where it is to end.

    `attempt` counts from 1, `jitter` is uniform in [0, 1), `retry_after` is the upstream's
    header or empty. Full jitter; a `Retry-After` beyond what is left ends it.
    """
    if attempt >= max_attempts:
        return None
    asked = float(retry_after) if re.fullmatch(r"\d{1,5}(\.\d+)?", retry_after) else 0.0
    backoff = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt) * jitter
    wait = max(asked, backoff)
    if wait > min(_LONGEST_WAIT_SECONDS, seconds_left):
        return None
    return Again(wait)


def is_uncharged(status: int, uncharged: tuple[str, ...]) -> bool:
    """Is an answer of this status one that the upstream does not charge for?"""
    return any(rule in (str(status), f"{status // 100}xx") for rule in uncharged)
