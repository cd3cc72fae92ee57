"""What the figures are held against: ratios within one run, for absolute numbers drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.measuring import (
    BOOKED,
    DIRECT,
    FLOOR,
    FORWARDER,
    GATEWAY,
    LITELLM,
    NGINX,
    SKETCH,
    TWO_WORKERS,
    Figures,
    Measured,
)

By = Mapping[str, Figures]


@dataclass(frozen=True)
class Goal:
    """A ratio, reckoned within each round, and the bound that it is to keep."""

    text: str
    scene: str
    peers: tuple[str, ...]
    of: Callable[[By], float]
    bound: float
    at_least: bool = True

    def ratio(self, measured: Sequence[Measured]) -> float | None:
        """None where a peer was missing."""
        found = [each for each in measured if each.scene.name == self.scene]
        return found[0].ratio(self.of, *self.peers) if found else None

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound


def _throughput(other: str) -> Callable[[By], float]:
    return lambda by: by[GATEWAY].per_second / by[other].per_second


def _added(other: str) -> Callable[[By], float]:
    """What the gateway's median adds over the upstream's, in what the other's adds."""

    def ratio(by: By) -> float:
        direct = by[DIRECT].p50_ms
        return (by[GATEWAY].p50_ms - direct) / (by[other].p50_ms - direct)

    return ratio


ONE = "hits, 1 MB"
GOALS = (
    *(
        Goal(f"{ONE}: throughput over {name}", ONE, (GATEWAY, peer), _throughput(peer), bound)
        for name, peer, bound in (
            ("the floor's", FLOOR, 0.65), (f"{SKETCH}'s", SKETCH, 1),
            ("nginx + Lua's", NGINX, 1.3), ("LiteLLM's", LITELLM, 15),
        )
    ),
    Goal(
        "hits, 1 MB: p99 over the floor's", ONE, (GATEWAY, FLOOR),
        lambda by: by[GATEWAY].p99_ms / by[FLOOR].p99_ms, 2, at_least=False,
    ),
    Goal(
        "hits, 8 MB: throughput over the floor's", "hits, 8 MB", (GATEWAY, FLOOR),
        _throughput(FLOOR), 0.55,
    ),
    Goal(
        "hits, 1 MB: CPU with two workers over one's", ONE, (GATEWAY, TWO_WORKERS),
        lambda by: by[TWO_WORKERS].cpu_ms / by[GATEWAY].cpu_ms, 1.15, at_least=False,
    ),
    *(
        Goal(
            f"{scene}: added median over {other}'s", scene, (GATEWAY, DIRECT, other),
            _added(other), bound, at_least=False,
        )
        for scene in ("misses, alone", "misses, 8 at once")
        for other, bound in ((FORWARDER, 1.5), (BOOKED, 1), (LITELLM, 0.2))
    ),
)  # fmt: skip
