"""Rounds of one kind of load over several peers, interleaved, and the medians of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.benchmarks.load import Clients, Load, LoadFailed, wrk
from tests.benchmarks.processes import Process
from tests.benchmarks.work import ONE_MB, WORKS, Work


@dataclass(frozen=True)
class Scene:
    """One kind of load: what is asked, by whom, on how many connections."""

    name: str
    work: Work
    peers: tuple[str, ...]
    connections: int = 8
    real_clients: bool = False
    """Clients of our own in place of wrk."""
    unique: bool = False
    """Every request asks for something else: nothing is a hit."""

    def load(self, folder: Path, seconds: int) -> Callable[[str], Load]:
        """What makes this load, given a peer's URL."""
        if self.real_clients:
            clients = Clients(self.work.body(), unique=self.unique)
            return lambda url: clients.run(url, connections=self.connections, seconds=seconds)
        path = self.work.written(folder)
        return lambda url: wrk(url, path, connections=self.connections, seconds=seconds)


@dataclass(frozen=True)
class Figures:
    """What one load of one peer came to, or the median of several."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """CPU milliseconds of the server's processes, a request."""
    peak_mb: float


@dataclass
class Measured:
    """The figures of every round, by peer; one that failed is named with why."""

    scene: Scene
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def median(self, peer: str) -> Figures | None:
        """None where the peer took no part."""
        rounds = self.rounds.get(peer)
        if not rounds:
            return None
        each = [asdict(figures) for figures in rounds]
        return Figures(**{name: statistics.median(one[name] for one in each) for name in each[0]})

    def ratio(self, of: Callable[[Mapping[str, Figures]], float], *peers: str) -> float | None:
        """The median over rounds of something reckoned within each; None where one is missing."""
        rounds = zip(*(self.rounds.get(peer, []) for peer in peers), strict=False)
        found = [of(dict(zip(peers, figures, strict=True))) for figures in rounds]
        return statistics.median(found) if found else None


def measure(process: Process, make_load: Callable[[str], Load]) -> Figures:
    """One load of one peer. Raises LoadFailed."""
    process.forget_peak()
    before = process.cpu_seconds()
    load = make_load(process.url)
    cpu_seconds = process.cpu_seconds() - before
    return Figures(
        per_second=load.per_second,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        cpu_ms=cpu_seconds / load.requests * 1e3,
        peak_mb=process.peak_bytes() / 1e6,
    )


def measure_round(
    measured: Measured, running: Mapping[str, Process], folder: Path, seconds: int
) -> None:
    """One more round of this scene, over every peer that is running, each warmed up first."""
    scene = measured.scene
    make_load = scene.load(folder, seconds)
    warm_up = Clients(scene.work.body(), unique=scene.unique)
    for peer in scene.peers:
        if peer not in running or peer in measured.failed:
            continue
        try:
            warm_up.run(running[peer].url, connections=scene.connections, seconds=0)
            figures = measure(running[peer], make_load)
        except (LoadFailed, OSError) as error:
            measured.failed[peer] = str(error)
            continue
        measured.rounds.setdefault(peer, []).append(figures)


FLOOR, GATEWAY, TWO_WORKERS = "bare Starlette", "gateway", "gateway, 2 workers"
SKETCH, BOOKED = "Starlette + diskcache", "Starlette + httpx, booked"
NGINX, FORWARDER, LITELLM, DIRECT = (
    "nginx + Lua", "Starlette + httpx", "LiteLLM", "the upstream itself",
)  # fmt: skip
HITS = (FLOOR, GATEWAY, NGINX, LITELLM)
MISSES = (DIRECT, FORWARDER, BOOKED, GATEWAY, LITELLM)
SCENES = (
    *(
        Scene(
            f"hits, {work.name}", work, HITS if work is not ONE_MB else (*HITS, SKETCH, TWO_WORKERS)
        )
        for work in WORKS
    ),
    Scene("hits, 1 MB, real clients", ONE_MB, (FLOOR, GATEWAY, NGINX), real_clients=True),
    Scene("misses, alone", ONE_MB, MISSES, connections=1, real_clients=True, unique=True),
    Scene("misses, 8 at once", ONE_MB, MISSES, real_clients=True, unique=True),
)  # fmt: skip
