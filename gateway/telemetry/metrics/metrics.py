"""What the gateway counts of itself, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.cache.result_store import Counts, StoreFailure
from gateway.model.money import NANOS
from gateway.model.outcome import Outcome
from gateway.telemetry.metrics import families
from gateway.telemetry.metrics.bounded_labels import BoundedLabels
from gateway.telemetry.metrics.exposition import Exposition
from gateway.telemetry.metrics.families import Family
from gateway.telemetry.metrics.shared_gauges import Series
from gateway.telemetry.metrics.worker_slots import WorkerSlot

MOST_NAMES = 200
"""So many models, and so many teams, are told apart."""
MOST_KEYS = 500
SAVING = ("reuse", "coalesced", "automatic_retry")
"""The causes for which a request brings a picture that is not paid for."""


class Metrics:
    """The metrics of a process, or with a `seat` those of all workers.

    Labels are bounded by construction: a model, team or key that is not known here, or is one
    too many, becomes `other`.
    """

    def __init__(self, version: str, seat: WorkerSlot | None = None) -> None:
        shown = self._shown = Exposition(seat)
        self._names = {
            "model": BoundedLabels(MOST_NAMES),
            "team": BoundedLabels(MOST_NAMES),
            "key": BoundedLabels(MOST_KEYS),
        }
        self._cache_counts = Counts()
        for labels in seat.labels() if seat else ():
            for label, name in labels.items():
                if names := self._names.get(label):
                    names.known(name)

        self._expected: set[tuple[tuple[str, str], tuple[str, str]]] = set()
        """Whose costs are there at 0; as bounded as the names are."""
        self.requests = shown.counter(families.REQUESTS)
        self.refusals = shown.counter(families.REFUSALS)
        self.request_seconds = shown.histogram(families.REQUEST_SECONDS)
        self.overhead_seconds = shown.histogram(families.OVERHEAD_SECONDS)
        self.reference_images = shown.histogram(families.REFERENCE_IMAGES)
        self.body_bytes = shown.histogram(families.BODY_BYTES)

        self.cost = shown.counter(families.COST)
        self.estimated = shown.counter(families.ESTIMATED)
        self.saved = shown.counter(families.SAVED)
        self.key_cost = shown.counter(families.KEY_COST)
        self.key_saved = shown.counter(families.KEY_SAVED)
        self.pictures = shown.counter(families.PICTURES)
        self.overruns = shown.counter(families.OVERRUNS)
        self.warnings = shown.counter(families.WARNINGS)

        self.flights = shown.gauge(families.FLIGHTS)
        self.followers = shown.gauge(families.FOLLOWERS)
        self.upstream_seconds = shown.histogram(families.UPSTREAM_SECONDS)
        self.upstream_in_flight = shown.gauge(families.UPSTREAM_IN_FLIGHT)
        self.upstream_retries = shown.counter(families.UPSTREAM_RETRIES)
        self.account_refusals = shown.counter(families.ACCOUNT_REFUSALS)
        self.queue_waiting = shown.gauge(families.QUEUE_WAITING)
        self.queue_seconds = shown.histogram(families.QUEUE_SECONDS)
        self.circuit_open = shown.gauge(families.CIRCUIT_OPEN)
        self.circuit_opened = shown.counter(families.CIRCUIT_OPENED)

        self.cache_evictions = shown.counter(families.CACHE_EVICTIONS)
        self.cache_damaged = shown.counter(families.CACHE_DAMAGED)
        self.cache_failures = shown.counter(families.CACHE_FAILURES)
        for failure in StoreFailure:
            self.cache_failures.labels(failure)  # at 0, or the first would be in no increase()

        self.state_up = shown.gauge(families.STATE_UP)
        self.usage_waiting = shown.gauge(families.USAGE_WAITING)
        self.usage_lag = shown.gauge(families.USAGE_LAG)
        self.failure = shown.counter(families.TROUBLE)
        for part in families.TROUBLED_PARTS:
            self.failure.labels(part)
        shown.gauge(families.BUILD).labels(version).set(1)

    # --- names --------------------------------------------------------------------------

    def learn_models(self, names: Iterable[str]) -> None:
        """These models exist: they may stand in labels, while there is room."""
        self._names["model"].learn(names)

    def team(self, name: str) -> str:
        """The label of a team that exists."""
        return self._names["team"].known(name)

    def _account(self, team: str, model: str) -> tuple[str, str]:
        return self.team(team), self._names["model"].known(model)

    def _key(self, team: str, key_id: str) -> tuple[str, str]:
        return self.team(team), self._names["key"].known(key_id)

    # --- requests -----------------------------------------------------------------------

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

        `model`, `team` and `key_id` are empty where they never got known, `body_bytes` is 0
        where it was not read whole.
        """
        # A model that nobody has heard of is not to take a label's place for good.
        model = self._names["model"].if_known(model)
        team = self.team(team)
        exemplar = {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})
        self.requests.labels(route, model, team, outcome).inc()
        self.request_seconds.labels(route, outcome).observe(seconds, exemplar)
        overhead = max(0.0, seconds - waited_seconds)
        self.overhead_seconds.labels(outcome).observe(overhead, exemplar)
        if code:
            self.refusals.labels(code).inc()
        if body_bytes:
            self.body_bytes.labels(model).observe(body_bytes)
            if route == "edits":
                self.reference_images.labels(model).observe(references)
        if saved_nanos:
            saved = saved_nanos / NANOS
            self.saved.labels(team, model, cause).inc(saved)
            self.key_saved.labels(*self._key(team, key_id)).inc(saved)

    # --- money --------------------------------------------------------------------------

    def expect_cost(self, *, model: str, team: str, key_id: str) -> None:
        """A call is about to be paid for: all that it may be counted under is there, at 0.

        Prometheus takes a series to begin with the first value it sees, so that the first
        amount of each would be in no `increase()`.
        """
        # A model that nobody has heard of is not to take a label's place before it is bought.
        account = self.team(team), self._names["model"].if_known(model)
        key = self._key(team, key_id)
        if (account, key) in self._expected:
            return
        self._expected.add((account, key))
        for counter in (self.cost, self.estimated, self.pictures, self.overruns):
            counter.labels(*account)
        for cause in SAVING:
            self.saved.labels(*account, cause)
        self.key_cost.labels(*key)
        self.key_saved.labels(*key)

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
        """Count what was booked for an upstream call."""
        labels, cost = self._account(team, model), cost_nanos / NANOS
        self.cost.labels(*labels).inc(cost, {"request_id": request_id})
        self.key_cost.labels(*self._key(team, key_id)).inc(cost)
        if estimated:
            self.estimated.labels(*labels).inc(cost)
        if pictures:
            self.pictures.labels(*labels).inc(pictures)

    def record_overrun(self, *, model: str, team: str) -> None:
        """Count a call that cost more than its ceiling."""
        self.overruns.labels(*self._account(team, model)).inc()

    # --- the upstream -------------------------------------------------------------------

    def record_call(self, *, model: str, result: str, seconds: float) -> None:
        """Count one upstream call; `result` is `2xx` … `5xx`, `timeout`, `failed` or `unsent`."""
        names = self._names["model"]
        known = names.known(model) if result == "2xx" else names.if_known(model)
        self.upstream_seconds.labels(known, result).observe(seconds)

    # --- what is read off ---------------------------------------------------------------

    def tell(self, family: Family, series: Series) -> None:
        """What was read of something that all processes share; replaces the last reading."""
        self._shown.told.tell(family, series)

    def count_cache(self, counts: Counts) -> None:
        """Count what this process's store of results has seen since it was last asked."""
        last, self._cache_counts = self._cache_counts, counts
        self.cache_evictions.inc(counts.evicted - last.evicted)
        self.cache_damaged.inc(counts.damaged - last.damaged)
        for failure, number in counts.failures.items():
            more = number - last.failures.get(failure, 0)
            if more:
                self.cache_failures.labels(failure).inc(more)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics as the scraper's `Accept` asks for them, and their content type."""
        return self._shown.expose(accept)
