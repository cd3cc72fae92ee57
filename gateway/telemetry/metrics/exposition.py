"""Making meters of families, and showing them as Prometheus reads them."""

from __future__ import annotations

import functools
from typing import Self

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

from gateway.telemetry.metrics.families import Family
from gateway.telemetry.metrics.shared_gauges import SharedGauges
from gateway.telemetry.metrics.worker_slots import SlotFiles, WorkerSlot

OPENMETRICS = "application/openmetrics-text"


class _Remembering(MetricWrapperBase):
    """Finds a series again by its labels as they are given; the library makes texts of them
    and takes a lock first, every time.
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
    """The meters of one process, and what is shown: with a `seat`, those of all workers.

    A process that serves alone also shows itself (memory, CPU, open files, collections), and
    exemplars; prometheus-client can do neither for several.
    """

    def __init__(self, seat: WorkerSlot | None) -> None:
        disable_created_metrics()  # they double the series, and Prometheus does not read them
        self._seat = seat  # held for as long as this process serves
        self._own = CollectorRegistry()
        self._shown = CollectorRegistry() if seat else self._own
        self.told = SharedGauges()
        self._shown.register(self.told)
        if seat:
            self._shown.register(SlotFiles(seat.folder))
        else:
            ProcessCollector(registry=self._own)
            PlatformCollector(registry=self._own)
            GCCollector(registry=self._own)

    def counter(self, family: Family) -> Counter:
        return _Counter(family.name, family.meaning, family.labels, registry=self._own)

    def gauge(self, family: Family) -> Gauge:
        """A gauge of this process's own; what is told has no such gauge."""
        mode = family.merging
        if mode is None:
            raise ValueError(f"{family.name} is told")
        return Gauge(
            family.name, family.meaning, family.labels, registry=self._own, multiprocess_mode=mode
        )

    def histogram(self, family: Family) -> Histogram:
        return _Histogram(
            family.name,
            family.meaning,
            family.labels,
            buckets=family.buckets,
            registry=self._own,
        )

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the form that the `Accept` header asks for, and its content type.

        Exemplars are part of OpenMetrics only.
        """
        # The library's own reading of the header raises on some of what can stand in it.
        encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in accept else "")
        return encode(self._shown), content_type
