"""What the gateway counts."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from gateway.cache.result_store import Counts, StoreFailure
from gateway.model.money import NANOS
from gateway.model.outcome import Outcome
from gateway.model.token_usage import TOKEN_KINDS, TokenUsage
from gateway.telemetry.metrics import families
from gateway.telemetry.metrics.bounded_labels import BoundedLabels
from gateway.telemetry.metrics.exposition import Exposition, Unexposed
from gateway.telemetry.metrics.families import Family
from gateway.telemetry.metrics.shared_gauges import Series
from gateway.telemetry.metrics.worker_slots import WorkerSlot
from gateway.wire.cache_directives import IGNORABLE

MOST_MODELS, MOST_TEAMS, MOST_KEYS = 200, 1_000, 1_000
"""Maximum numbers of names with series of their own; those of teams and keys can be set."""
SAVING = ("reuse", "coalesced", "automatic_retry")
"""Causes of a request that delivers a picture without paying."""


class Metrics:
    """The metrics of a process, or with a `slot` those of all workers.

    Labels are bounded: a model, team or key that is unknown, or beyond the bound, is `other`.
    Metrics that are not `counting` are for work that is in no metric.
    """

    def __init__(
        self,
        version: str,
        slot: WorkerSlot | None = None,
        *,
        max_teams: int = MOST_TEAMS,
        max_keys: int = MOST_KEYS,
        counting: bool = True,
    ) -> None:
        self._exposition = Exposition(slot) if counting else Unexposed()
        self._models = BoundedLabels(MOST_MODELS)
        self._teams = BoundedLabels(max_teams)
        self._keys = BoundedLabels(max_keys)
        self._names = {"model": self._models, "team": self._teams, "key": self._keys}
        for labels in slot.labels() if slot else ():
            for label in self._names.keys() & labels.keys():
                self._names[label].known(labels[label])
        self._initialised: set[tuple[tuple[str, str], tuple[str, str]]] = set()
        """Accounts and keys whose cost series exist; bounded as the labels are."""
        self._cache_counts = Counts()
        # Without a sample at 0, the first event of a series is missing from `increase()`.
        for failure in StoreFailure:
            self.counter(families.CACHE_FAILURES).labels(failure)
        for part in families.FAILURE_PARTS:
            self.counter(families.RECOVERED_FAILURES).labels(part)
        for directive in IGNORABLE:
            self.counter(families.CACHE_CONTROL_IGNORED).labels(directive)
        self.gauge(families.BUILD).labels(version).set(1)

    def counter(self, family: Family) -> Counter:
        return self._exposition.counters[family]

    def gauge(self, family: Family) -> Gauge:
        return self._exposition.gauges[family]

    def histogram(self, family: Family) -> Histogram:
        return self._exposition.histograms[family]

    def set_shared(self, family: Family, series: Series) -> None:
        """Replace the series of a shared gauge by what was just read."""
        self._exposition.shared.set(family, series)

    def learn_models(self, names: Iterable[str]) -> None:
        """Give these models series of their own, up to the bound."""
        for name in names:
            self._models.known(name)

    def team(self, name: str) -> str:
        """The label of an existing team."""
        return self._teams.known(name)

    def shared_labels(self, label: str, names: Iterable[str]) -> BoundedLabels:
        """Labels for shared gauges: the first of these names, whatever this process has seen."""
        shared = BoundedLabels(self._names[label].most)
        for name in names:
            self._names[label].known(shared.known(name))
        return shared

    def record_request(
        self,
        *,
        request_id: str,
        route: str,
        model: str,
        team: str,
        key_id: str,
        outcome: Outcome,
        code: str,
        seconds: float,
        waited_seconds: float,
        references: int,
        body_bytes: int,
        saved_nanos: int,
        cause: str,
        trace_id: str = "",
    ) -> None:
        """Count one finished request.

        `model`, `team` and `key_id` are empty if the request ended before they were known,
        `body_bytes` is 0 if its body was not read whole.
        """
        # Requests may name any model: only a model that exists gets a series of its own.
        model = self._models.if_known(model)
        team = self.team(team)
        exemplar = {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})
        self.counter(families.REQUESTS).labels(route, model, team, outcome).inc()
        self.histogram(families.REQUEST_SECONDS).labels(route, outcome).observe(seconds, exemplar)
        overhead = max(0.0, seconds - waited_seconds)
        self.histogram(families.OVERHEAD_SECONDS).labels(outcome).observe(overhead, exemplar)
        if code:
            self.counter(families.REFUSALS).labels(code, team).inc()
        if body_bytes:
            self.histogram(families.BODY_BYTES).labels(model).observe(body_bytes)
            if route == "edits":
                self.histogram(families.REFERENCE_IMAGES).labels(model).observe(references)
        if saved_nanos:
            saved = saved_nanos / NANOS
            self.counter(families.SAVED).labels(team, model, cause).inc(saved)
            self.counter(families.KEY_SAVED).labels(team, self._keys.known(key_id)).inc(saved)

    def expect_cost(self, *, model: str, team: str, key_id: str) -> None:
        """Create every series that a call may be booked under, at 0, before it is made.

        Otherwise the first amount of each would be missing from `increase()`.
        """
        # A model that does not exist must not get a series before it has been bought.
        account = self.team(team), self._models.if_known(model)
        key = self.team(team), self._keys.known(key_id)
        if (account, key) in self._initialised:
            return
        self._initialised.add((account, key))
        for family in (families.COST, families.ESTIMATED, families.PICTURES, families.OVERRUNS):
            self.counter(family).labels(*account)
        for cause in SAVING:
            self.counter(families.SAVED).labels(*account, cause)
        for kind in TOKEN_KINDS:
            self.counter(families.TOKENS).labels(account[1], kind)
        self.counter(families.KEY_COST).labels(*key)
        self.counter(families.KEY_SAVED).labels(*key)

    def record_cost(
        self,
        *,
        request_id: str,
        model: str,
        team: str,
        key_id: str,
        cost_nanos: int,
        estimated: bool,
        pictures: int,
    ) -> None:
        """Count the booked cost of an upstream call."""
        labels, cost = (self.team(team), self._models.known(model)), cost_nanos / NANOS
        self.counter(families.COST).labels(*labels).inc(cost, {"request_id": request_id})
        self.counter(families.KEY_COST).labels(labels[0], self._keys.known(key_id)).inc(cost)
        if estimated:
            self.counter(families.ESTIMATED).labels(*labels).inc(cost)
        if pictures:
            self.counter(families.PICTURES).labels(*labels).inc(pictures)

    def record_tokens(self, *, model: str, usage: TokenUsage) -> None:
        """Count the tokens of an upstream call."""
        for kind in TOKEN_KINDS:
            labels = self._models.known(model), kind
            self.counter(families.TOKENS).labels(*labels).inc(getattr(usage, kind))

    def record_overrun(self, *, model: str, team: str) -> None:
        """Count a call that cost more than its ceiling."""
        self.counter(families.OVERRUNS).labels(self.team(team), self._models.known(model)).inc()

    def record_call(self, *, upstream: str, model: str, result: str, seconds: float) -> None:
        """Count one upstream call; `result` is `2xx` … `5xx`, `timeout`, `failed` or `unsent`."""
        label = self._models.known(model) if result == "2xx" else self._models.if_known(model)
        self.histogram(families.UPSTREAM_SECONDS).labels(upstream, label, result).observe(seconds)

    def count_cache(self, counts: Counts) -> None:
        """Count what the store of results has counted since the last call."""
        last, self._cache_counts = self._cache_counts, counts
        self.counter(families.CACHE_EVICTIONS).inc(counts.evicted - last.evicted)
        self.counter(families.CACHE_DAMAGED).inc(counts.damaged - last.damaged)
        for failure, number in counts.failures.items():
            more = number - last.failures.get(failure, 0)
            self.counter(families.CACHE_FAILURES).labels(failure).inc(more)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics in the format that `Accept` asks for, and their content type."""
        return self._exposition.expose(accept)
