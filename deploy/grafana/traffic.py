"""Rows of the dashboard *Service* about requests: now, traffic, latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from grafana_foundation_sdk.models.units import (
    BytesIEC,
    PercentUnit,
    RequestsPerSecond,
    Seconds,
    Short,
)

from deploy.grafana.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    Built,
    chart,
    heat,
    number,
    query,
)
from deploy.grafana.queries import (
    ANSWERED,
    BY_MODEL,
    FREE,
    JOB,
    PAID,
    RATE,
    buckets,
    mean,
    quantile,
    ratio,
    requests,
    share,
    summed,
)

TOLERATED, HIT_SECONDS = 0.01, 0.25
OUTCOMES = {
    "hit": GREEN,
    "coalesced": TEAL,
    "miss": BLUE,
    "refreshed": PURPLE,
    "bypass": GREY,
    "refused": ORANGE,
    "failed": RED,
}


class Latency(NamedTuple):
    """A duration: its histogram, and the outcomes it covers."""

    title: str
    said: str
    histogram: str
    outcomes: str

    @property
    def selector(self) -> str:
        return f'{JOB}, outcome=~"{self.outcomes}"'


HITS = Latency("Hits", "Duration of requests served from the cache.", "request_seconds", "hit")
MISSES = Latency(
    "Misses",
    "Duration of requests that were bought, most of which is the upstream's.",
    "request_seconds",
    PAID,
)
OVERHEAD = Latency(
    "Overhead",
    "What the gateway adds: the duration of a request without waiting for the upstream, a slot, or "
    "another request's call. Slow uploads are included.",
    "overhead_seconds",
    ANSWERED,
)


def now() -> Sequence[Built]:
    """Six figures of the gateway's health."""
    return [
        number(
            "Requests",
            "Requests to the image routes per second, whatever their outcome.",
            RequestsPerSecond,
            query(requests()),
        ),
        number(
            "Hit share",
            "Of the answers with a picture, those that cost nothing: hits, and shared calls in "
            "flight.",
            PercentUnit,
            query(share(requests(outcomes=FREE), requests(outcomes=ANSWERED))),
        ),
        number(
            "Failed",
            "Share of requests that ended in an error of the upstream or the gateway. Refusals are "
            "not included.",
            PercentUnit,
            query(share(requests(outcomes="failed"), requests())),
            steps=((0.01, ORANGE), (0.05, RED)),
        ),
        number(
            "Overhead, 99 %",
            "The 99th percentile of what the gateway itself adds to an answered request.",
            Seconds,
            query(f"{quantile(0.99, OVERHEAD.histogram, OVERHEAD.selector)} >= 0"),
            steps=((0.5, ORANGE), (1, RED)),
        ),
        number(
            "Gateways up",
            "Gateways that Prometheus reaches. A gateway counts once, with all its workers.",
            Short,
            query(f"sum(up{{{JOB}}})"),
            decimals=0,
        ),
        number(
            "State readable",
            "100 % while every gateway can read the state. Below, nothing is bought, and hits are "
            "served for a limited time: see the runbook, GatewayStateUnreadable.",
            PercentUnit,
            query(f"avg(gateway_state_up{{{JOB}}})"),
            decimals=0,
        ),
    ]


def traffic() -> Sequence[Built]:
    """Requests and their outcomes."""
    return [
        chart(
            "Requests by outcome",
            "Requests per second, stacked. Green: cost nothing; blue, purple and grey: bought; "
            "orange: refused; red: failed.",
            RequestsPerSecond,
            query(requests("outcome"), "{{outcome}}"),
            stacked=True,
            colours=OUTCOMES,
        ),
        chart(
            "Hit share by team",
            "Of a team's answers with a picture, those that cost nothing. For an unexplained fall "
            "see the runbook, GatewayHitShareCollapsed.",
            PercentUnit,
            query(share(requests("team", FREE), requests("team", ANSWERED)), "{{team}}"),
            top=1,
        ),
        chart(
            "Refusals and failures by code",
            "Requests per second without a picture, by error code, the ten most frequent. "
            "insufficient_quota: a budget is used up; rate_limit_exceeded: a client is too fast; "
            "upstream_…: the upstream failed.",
            RequestsPerSecond,
            query(
                "topk(10, "
                + summed(f"rate(gateway_refusals_total{{{JOB}}}[{RATE}])", "code")
                + ")",
                "{{code}}",
            ),
        ),
        chart(
            "Requests by team",
            "Requests per second of the ten busiest teams; `other` includes requests without a "
            "valid key.",
            RequestsPerSecond,
            query(f"topk(10, {requests('team')})", "{{team}}"),
        ),
        chart(
            "Reference images per edit",
            "Mean and 95th percentile of the reference images per edit of the selected models, in "
            "steps of 0, 1, 2, 3, 5, 8, 14 and 16.",
            Short,
            query(mean("reference_images", BY_MODEL), "mean"),
            query(f"ceil({quantile(0.95, 'reference_images', BY_MODEL)})", "95 %"),
        ),
        chart(
            "Request size",
            "Mean and 95th percentile of the body size of requests for the selected models, in "
            "steps of a factor of four from 64 KiB.",
            BytesIEC,
            query(mean("body_bytes", BY_MODEL), "mean"),
            query(quantile(0.95, "body_bytes", BY_MODEL), "95 %"),
        ),
    ]


def latency() -> Sequence[Built]:
    """Durations: above as distributions, below as quantiles."""
    shown = (HITS, MISSES, OVERHEAD)
    return [*map(_distribution, shown), *map(_quantiles, shown)]


def objectives() -> Sequence[Built]:
    """How fast the tolerated share of failures and of slow hits is used up."""
    windows = ("5m", "1h", "6h")
    return [
        chart(
            "Failure budget burn",
            "Share of failed requests, divided by the tolerated 1 %. Above 1 the objective of 99 % "
            "is missed; 14 over an hour uses up a month's tolerance in two days.",
            Short,
            *(query(f"{_failed(over)} / {TOLERATED}", over) for over in windows),
            width=12,
            steps=((1, ORANGE), (14, RED)),
        ),
        chart(
            "Hit latency burn",
            "Share of hits slower than 0.25 s, divided by the tolerated 1 %. Above 1 the objective "
            "of 99 % is missed.",
            Short,
            *(query(f"{_slow_hits(over)} / {TOLERATED}", over) for over in windows),
            width=12,
            steps=((1, ORANGE), (14, RED)),
        ),
    ]


def _failed(over: str) -> str:
    return share(requests(outcomes="failed", over=over), requests(over=over))


def _slow_hits(over: str) -> str:
    fast = f'gateway_request_seconds_bucket{{{HITS.selector}, le="{HIT_SECONDS}"}}'
    every = f"gateway_request_seconds_count{{{HITS.selector}}}"
    return f"1 - {ratio(*(summed(f'rate({each}[{over}])') for each in (fast, every)))}"


def _distribution(time: Latency) -> Built:
    return heat(
        f"{time.title}: distribution",
        f"{time.said} Rows are durations: the darker, the more requests. Two bands are two kinds "
        "of requests.",
        query(buckets(time.histogram, time.selector)).exemplar(True),
    )


def _quantiles(time: Latency) -> Built:
    lines = ((0.5, "median"), (0.9, "90 %"), (0.99, "99 %"))
    return chart(
        f"{time.title}: quantiles",
        f"{time.said} Median, 90th and 99th percentile.",
        Seconds,
        *(query(quantile(q, time.histogram, time.selector), name) for q, name in lines),
    )
