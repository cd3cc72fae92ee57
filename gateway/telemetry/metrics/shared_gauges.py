"""Gauges that are read of what all processes share, and told as they were last read.

They belong to no process: whichever is asked answers for all. What is gone from one reading to
the next (a team that was archived) is gone from the metrics as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.telemetry.metrics.families import Family

Series = Mapping[tuple[str, ...], float]
"""Values by those of the labels, in the family's order."""


class SharedGauges(Collector):
    """The last reading of each family; one that was never read has no series."""

    def __init__(self) -> None:
        self._series: dict[str, tuple[Family, Series]] = {}

    def tell(self, family: Family, series: Series) -> None:
        """From now on these are the family's series, and no others."""
        self._series = {**self._series, family.name: (family, series)}

    def collect(self) -> Iterator[Metric]:
        for family, series in self._series.values():
            gauge = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
            for labels, value in series.items():
                gauge.add_metric(labels, value)
            yield gauge

    def describe(self) -> Iterable[Metric]:
        return ()
