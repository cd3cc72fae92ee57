"""Gauges read from what all processes share, exposed as last read.

They belong to no process: any of them answers for all. A series that is absent from a reading (an
archived team) disappears from the metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.telemetry.metrics.families import Family

Series = Mapping[tuple[str, ...], float]
"""Values by label values, in the family's order of labels."""


class SharedGauges(Collector):
    """The last reading of each family; a family that was never read has no series."""

    def __init__(self) -> None:
        self._series: dict[Family, Series] = {}

    def set(self, family: Family, series: Series) -> None:
        """Replace all series of a family."""
        self._series = {**self._series, family: series}

    def collect(self) -> Iterator[Metric]:
        for family, series in self._series.items():
            gauge = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
            for labels, value in series.items():
                gauge.add_metric(labels, value)
            yield gauge

    def describe(self) -> Iterable[Metric]:
        return ()
