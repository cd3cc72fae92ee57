"""May an upstream call be tried again, and when: only where it can't buy twice."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_WAIT_SECONDS = 20.0
_FIRST_WAIT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more after this many seconds."""

    wait_seconds: float


def again(
    *,
    attempt: int,
    max_attempts: int,
    asked_seconds: float,
    jitter: float,
    seconds_left: float,
    at_once: bool = False,
) -> Again | None:
    """The next try of a call that was not carried out, or None where it is to end.

    `attempt` counts from 1, `jitter` is uniform in [0, 1), `asked_seconds` is how long the
    upstream asked to be left alone. Full jitter on top of that, so that those who were told
    the same do not come back at once; with `at_once` there is another way and nothing to wait
    for. A wait beyond what is left ends it.
    """
    if attempt >= max_attempts:
        return None
    backoff = min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt) * jitter
    wait = 0.0 if at_once else asked_seconds + backoff
    if asked_seconds > LONGEST_WAIT_SECONDS or wait > seconds_left:
        return None
    return Again(wait)


def is_uncharged(status: int, uncharged: tuple[str, ...]) -> bool:
    """Is an answer of this status one that the upstream does not charge for?"""
    return any(rule in (str(status), f"{status // 100}xx") for rule in uncharged)
