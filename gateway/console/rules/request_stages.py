"""What happened to a request, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_STAGES: Mapping[str, str] = MappingProxyType(
    {
        "authenticate": "Is the key valid, and whose is it?",
        "admit": "Type, size and rate, before the body is read",
        "read": "The upload arrived",
        "fingerprint": "Which edit is it?",
        "look_up": "Is its picture stored?",
        "join": "Is the same edit being bought already?",
        "follow": "Waited for the same edit, which another request bought",
        "check_budget": "Is there money for it?",
        "first_call": "Waited for the first call of a model whose price is not known",
        "look_again": "Has its picture been stored meanwhile?",
        "queue": "Waited for its team's turn at the upstream",
        "reserve": "Its ceiling was reserved of every budget",
        "forward": "The upstream made the picture",
        "settle": "Its cost was booked",
        "fetch": "The picture was fetched from the upstream's URL",
        "store": "The picture was stored",
        "send": "The answer was sent",
    }
)


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage. `part` is its share of the longest."""

    name: str
    text: str
    ms: float
    part: float


def stages_of(stages_ms: Mapping[str, float]) -> list[StageLine]:
    """The stages of a request in the order of its life."""
    longest = max(stages_ms.values(), default=0.0) or 1.0
    known = [name for name in _STAGES if name in stages_ms]
    others = [name for name in stages_ms if name not in _STAGES]
    return [
        StageLine(name, _STAGES.get(name, ""), stages_ms[name], stages_ms[name] / longest)
        for name in (*known, *others)
    ]
