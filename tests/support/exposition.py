"""Reading what `/metrics` shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.serving import Served


def scrape(gateway: Served, accept: str = "", *, after: int = 0) -> str:
    """The whole text, over a connection of its own, once so many requests have been counted.

    One is counted when its answer has been sent: whoever has it may be a moment too early.
    """
    for _ in range(1500):
        text = _scrape(gateway, accept)
        lines = [line for line in text.splitlines() if line.startswith("gateway_requests_total{")]
        if sum(float(line.partition("} ")[2].split()[0]) for line in lines) >= after:
            return text
        time.sleep(0.02)
    raise AssertionError(f"{after} requests were never counted:\n{text}")


def _scrape(gateway: Served, accept: str) -> str:
    with gateway.client(key=None) as client:
        answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.text


def samples_of(text: str, name: str, **labels: str) -> Iterator[Sample]:
    """The samples of that name that have these labels, among others."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample


def total(text: str, name: str, **labels: str) -> float:
    """What those samples add up to."""
    return sum(sample.value for sample in samples_of(text, name, **labels))


def nanos(text: str, name: str, **labels: str) -> int:
    """What those samples, of dollars, add up to, to the nano."""
    return round(Decimal(total(text, name, **labels)) * 10**9)
