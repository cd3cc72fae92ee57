"""Outages of upstreams: what is said when one goes down or answers again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from gateway.model.money import usd
from gateway.model.units import time_text
from gateway.upstream.rules.routing import ModelRoute, Target

DOWN, UP = "upstream.down", "upstream.up"
_REFUSED = (
    "Edits without another target are refused until it answers; stored pictures are still served."
)


@dataclass(frozen=True, slots=True)
class Outage:
    """An upstream that is down, or was until `ended_ms`. `code` is that of its failure."""

    upstream: str
    since_ms: int
    code: str
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PricedTarget:
    """A target, and the most that a picture of a usual edit may cost there."""

    target: Target
    ceiling_nanos: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the edits of a model go while its target at an upstream is down."""

    usual: PricedTarget
    instead: PricedTarget


def redirects(
    routes: Iterable[ModelRoute],
    upstream: str,
    others_down: Collection[str],
    ceiling_nanos: Callable[[Target], int],
) -> Sequence[Redirect]:
    """Of each model that is bought at this upstream while it works, and has another target."""
    found = []
    for route in routes:
        working = [each for each in route.targets if each.upstream not in others_down]
        others = [each for each in working if each.upstream != upstream]
        if others and working[0].upstream == upstream:
            usual, instead = (
                PricedTarget(each, ceiling_nanos(each)) for each in (working[0], others[0])
            )
            found.append(Redirect(usual, instead))
    return found


def event_of(outage: Outage) -> str:
    return DOWN if outage.ended_ms is None else UP


def facts_of(outage: Outage, redirected: Sequence[Redirect]) -> dict[str, object]:
    """The facts of an outage, for log and webhook alike."""
    facts: dict[str, object] = {
        "upstream": outage.upstream,
        "code": outage.code,
        "since": time_text(outage.since_ms),
    }
    if outage.ended_ms is not None:
        facts["until"] = time_text(outage.ended_ms)
    return facts | {
        "traffic": [
            {
                "model": each.usual.target.model,
                "usual": str(each.usual.target),
                "usual_ceiling_usd": usd(each.usual.ceiling_nanos),
                "instead": str(each.instead.target),
                "instead_ceiling_usd": usd(each.instead.ceiling_nanos),
            }
            for each in redirected
        ]
    }


def sentence(outage: Outage, redirected: Sequence[Redirect]) -> str:
    """The alert as people read it."""
    name, since = outage.upstream, _to_the_second(outage.since_ms)
    if outage.ended_ms is None:
        moved = [_goes(each.usual, each.instead, "") for each in redirected]
        return " ".join([f"The upstream {name} is down since {since} ({outage.code}).", *moved,
                         _REFUSED])  # fmt: skip
    moved = [_goes(each.instead, each.usual, " again") for each in redirected]
    until = _to_the_second(outage.ended_ms)
    down = f"it was down from {since} to {until} ({outage.code})."
    return " ".join([f"The upstream {name} answers again; {down}", *moved])


def _to_the_second(at_ms: int) -> str:
    return time_text(at_ms // 1000 * 1000)


def _goes(before: PricedTarget, now: PricedTarget, again: str) -> str:
    return (
        f"Edits of {now.target.model} go to {now.target}{again}, at most "
        f"${usd(now.ceiling_nanos)} a picture (${usd(before.ceiling_nanos)} at {before.target})."
    )
