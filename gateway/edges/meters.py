"""Prometheus metrics: the one home of prometheus-client.

Labels are bounded by construction: a model or a team that is not known here becomes
`other`, and never more than `MAX_LABELS` of either are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.model import Outcome
from gateway.rules.money import NANOS

MAX_LABELS = 200
OTHER = "other"
SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    20,
    40,
    80,
    150,
    300,
)


class Meters:
    """What the gateway counts of itself, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str) -> None:
        registry = self.registry = CollectorRegistry()
        self._known: dict[str, set[str]] = {"model": set(), "team": set()}
        self.requests = Counter(
            "gateway_requests",
            "Requests to the image routes, by how they ended.",
            ("route", "model", "team", "outcome"),
            registry=registry,
        )
        self.refusals = Counter(
            "gateway_refusals",
            "Requests refused or failed, by the code of the error.",
            ("code",),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "gateway_request_seconds",
            "Whole time of a request, from its head to the last byte of the answer.",
            ("route", "outcome"),
            buckets=SECONDS,
            registry=registry,
        )
        self.upstream_seconds = Histogram(
            "gateway_upstream_seconds",
            "Time of an upstream call, by the class of its status or how it broke.",
            ("model", "result"),
            buckets=SECONDS,
            registry=registry,
        )
        self.overhead_seconds = Histogram(
            "gateway_overhead_seconds",
            "Time of a request less the time spent waiting for the upstream.",
            ("outcome",),
            buckets=SECONDS,
            registry=registry,
        )
        self.cost = Counter(
            "gateway_cost_dollars",
            "What this process settled calls at; later corrections are in the ledger only.",
            ("team", "model"),
            registry=registry,
        )
        self.saved = Counter(
            "gateway_saved_dollars",
            "What hits and coalesced requests would have cost.",
            ("team", "model"),
            registry=registry,
        )
        self.overruns = Counter(
            "gateway_overruns",
            "Upstream calls that cost more than the ceiling they were reserved at.",
            ("team", "model"),
            registry=registry,
        )
        self.in_flight = Gauge("gateway_flights", "Upstream calls in the air.", registry=registry)
        self.trouble = Counter(
            "gateway_trouble",
            "Things that went wrong and were survived, by part.",
            ("part",),
            registry=registry,
        )
        self.warnings = Counter(
            "gateway_warnings",
            "Marks of budgets, by percentage: passed, and how posting them to a webhook went.",
            ("percent", "result"),
            registry=registry,
        )
        build = Gauge("gateway_build_info", "1, by version.", ("version",), registry=registry)
        build.labels(version).set(1)

    def learn_models(self, names: Iterable[str]) -> None:
        """These models exist: they may stand in labels, while there is room."""
        for name in names:
            self.know("model", name)

    def know(self, label: str, name: str) -> str:
        """The label's value for this name: itself while there is room, else `other`."""
        known = self._known[label]
        if name in known:
            return name
        if not name or len(known) >= MAX_LABELS:
            return OTHER
        known.add(name)
        return name

    def record_request(
        self,
        *,
        route: str,
        model: str,
        team: str,
        outcome: Outcome,
        code: str,
        seconds: float,
        upstream_seconds: float,
        saved_nanos: int,
    ) -> None:
        """Count one finished request; `model` and `team` empty where they never got known."""
        # A model that nobody has heard of is not to take a label's place for good.
        model = model if model in self._known["model"] else OTHER
        team = self.know("team", team)
        self.requests.labels(route, model, team, outcome).inc()
        self.request_seconds.labels(route, outcome).observe(seconds)
        self.overhead_seconds.labels(outcome).observe(max(0.0, seconds - upstream_seconds))
        if code:
            self.refusals.labels(code).inc()
        if saved_nanos:
            self.saved.labels(team, model).inc(saved_nanos / NANOS)

    def record_call(self, *, model: str, team: str, result: str, seconds: float) -> None:
        """Count one upstream call; `result` is `2xx` … `5xx`, `timeout`, `failed` or `unsent`."""
        known = self.know("model", model) if result == "2xx" else model
        known = known if known in self._known["model"] else OTHER
        self.upstream_seconds.labels(known, result).observe(seconds)

    def record_cost(self, *, model: str, team: str, cost_nanos: int) -> None:
        """Count what was booked for an upstream call."""
        labels = self.know("team", team), self.know("model", model)
        self.cost.labels(*labels).inc(cost_nanos / NANOS)

    def record_overrun(self, *, model: str, team: str) -> None:
        """Count a call that cost more than its ceiling."""
        self.overruns.labels(self.know("team", team), self.know("model", model)).inc()

    def exposition(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self.registry)
