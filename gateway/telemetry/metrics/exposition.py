"""The instruments of all families, and their exposition in Prometheus's formats."""

from __future__ import annotations

import functools
from typing import Any, Self, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

from gateway.telemetry.metrics.families import FAMILIES, Family
from gateway.telemetry.metrics.shared_gauges import SharedGauges
from gateway.telemetry.metrics.worker_slots import SlotFiles, WorkerSlot

OPENMETRICS = "application/openmetrics-text"


class _Remembering(MetricWrapperBase):
    """Finds a series by its labels in one look-up.

    The library converts every label to text and takes a lock first.
    """

    def labels(self, *values: object, **named: object) -> Self:
        if named:
            return super().labels(*values, **named)
        series: Self | None = self._remembered.get(values)
        if series is None:
            series = self._remembered[values] = super().labels(*values)
        return series

    @functools.cached_property
    def _remembered(self) -> dict[tuple[object, ...], Self]:
        return {}


class _Counter(_Remembering, Counter):
    pass


class _Histogram(_Remembering, Histogram):
    pass


class Exposition:
    """The instruments of one process; with a `slot`, the values of all workers are exposed.

    Without a slot, the process's own metrics (memory, CPU, open files, collections) and
    exemplars are exposed too; prometheus-client supports neither for several processes.
    """

    def __init__(self, slot: WorkerSlot | None) -> None:
        disable_created_metrics()  # they double the series, and Prometheus does not read them
        self._slot = slot  # its lock is held as long as this process serves
        own = CollectorRegistry()
        self._exposed = CollectorRegistry() if slot else own
        self.shared = SharedGauges()
        self._exposed.register(self.shared)
        if slot:
            self._exposed.register(SlotFiles(slot.folder))
        else:
            ProcessCollector(registry=own)
            PlatformCollector(registry=own)
            GCCollector(registry=own)
        self.counters = {row: _counter(row, own) for row in FAMILIES if row.kind == "counter"}
        self.histograms = {row: _histogram(row, own) for row in FAMILIES if row.kind == "histogram"}
        self.gauges = {row: _gauge(row, own) for row in FAMILIES if row.merging}

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that the `Accept` header asks for, and its content type.

        Exemplars are part of OpenMetrics only.
        """
        # The library's own parsing of the header raises on some values.
        encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in accept else "")
        return encode(self._exposed), content_type


class _Uncounted:
    """An instrument of any kind that counts nothing."""

    def labels(self, *values: object, **named: object) -> Self:
        return self

    def _ignore(self, *values: object) -> None:
        """Nothing is kept."""

    inc = dec = set = observe = _ignore


class Unexposed(Exposition):
    """Instruments that count nothing. With a slot, those of the library would be every worker's."""

    def __init__(self) -> None:
        self.shared = SharedGauges()
        self._exposed = CollectorRegistry()
        uncounted = cast(Any, dict.fromkeys(FAMILIES, _Uncounted()))
        self.counters = self.histograms = self.gauges = uncounted


def _counter(row: Family, registry: CollectorRegistry) -> Counter:
    return _Counter(row.name, row.meaning, row.labels, registry=registry)


def _histogram(row: Family, registry: CollectorRegistry) -> Histogram:
    return _Histogram(row.name, row.meaning, row.labels, buckets=row.buckets, registry=registry)


def _gauge(row: Family, registry: CollectorRegistry) -> Gauge:
    mode = row.merging or "livesum"
    return Gauge(row.name, row.meaning, row.labels, registry=registry, multiprocess_mode=mode)
