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
    requests,
    share,
    summed,
)

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
    """A time worth watching: its histogram, and of which outcomes."""

    title: str
    said: str
    histogram: str
    outcomes: str

    @property
    def selector(self) -> str:
        return f'{JOB}, outcome=~"{self.outcomes}"'


HITS = Latency(
    "Hits", "The whole time of requests served from the cache.", "request_seconds", "hit"
)
MISSES = Latency(
    "Misses",
    "The whole time of requests that were bought; nearly all of it is the upstream's.",
    "request_seconds",
    PAID,
)
OVERHEAD = Latency(
    "Overhead",
    "What the gateway adds: the time of a request less what it waited for the upstream, a turn "
    "there, or another's call. Uploads that arrive slowly count.",
    "overhead_seconds",
    ANSWERED,
)


def now() -> Sequence[Built]:
    """Six figures that say whether all is well."""
    return [
        number(
            "Requests",
            "Requests to the image routes, a second, whatever came of them.",
            RequestsPerSecond,
            query(requests()),
        ),
        number(
            "Hit share",
            "Of the answers with a picture, those that cost nothing: from the cache, or shared "
            "with a call under way.",
            PercentUnit,
            query(share(requests(outcomes=FREE), requests(outcomes=ANSWERED))),
        ),
        number(
            "Failed",
            "Requests that ended in an error of the upstream's or ours, of all requests. Refusals "
            "are not among them.",
            PercentUnit,
            query(share(requests(outcomes="failed"), requests())),
            steps=((0.01, ORANGE), (0.05, RED)),
        ),
        number(
            "Overhead, 99 %",
            "99 of 100 answered requests were held up by the gateway itself less than this.",
            Seconds,
            query(f"{quantile(0.99, OVERHEAD.histogram, OVERHEAD.selector)} >= 0"),
            steps=((0.5, ORANGE), (1, RED)),
        ),
        number(
            "Gateways up",
            "Gateways that Prometheus reaches; one counts once, with all its workers.",
            Short,
            query(f"sum(up{{{JOB}}})"),
            decimals=0,
        ),
        number(
            "State readable",
            "100 % while every gateway has read the state lately. Below, hits are served for a "
            "while, and nothing is bought: see the runbook, GatewayStateUnreadable.",
            PercentUnit,
            query(f"avg(gateway_state_up{{{JOB}}})"),
            decimals=0,
        ),
    ]


def traffic() -> Sequence[Built]:
    """Who asks for what, and what comes of it."""
    return [
        chart(
            "Requests by outcome",
            "Requests a second, upon each other. Greens cost nothing; blue, purple and grey were "
            "bought; orange was refused before it could cost; red failed.",
            RequestsPerSecond,
            query(requests("outcome"), "{{outcome}}"),
            stacked=True,
            colours=OUTCOMES,
        ),
        chart(
            "Hit share by team",
            "Of a team's answers with a picture, those that cost nothing. A fall that no new "
            "client explains is worth a look: see the runbook, GatewayHitShareCollapsed.",
            PercentUnit,
            query(share(requests("team", FREE), requests("team", ANSWERED)), "{{team}}"),
            top=1,
        ),
        chart(
            "Refusals and failures by code",
            "Requests a second that were not answered with a picture, by the code of the error, "
            "the ten most frequent. insufficient_quota: a budget is used up; rate_limit_exceeded: "
            "a client is too fast; upstream_…: not ours.",
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
            "Requests a second of the ten busiest teams; `other` came without a valid key.",
            RequestsPerSecond,
            query(f"topk(10, {requests('team')})", "{{team}}"),
        ),
        chart(
            "References per edit",
            "How many reference images edits of the chosen models bring on average, and what 95 of "
            "100 bring at most, told apart up to 0, 1, 2, 3, 5, 8, 14 and 16.",
            Short,
            query(mean("reference_images", BY_MODEL), "mean"),
            query(f"ceil({quantile(0.95, 'reference_images', BY_MODEL)})", "95 %"),
        ),
        chart(
            "Size of requests",
            "Bytes of a request of the chosen models, on average; and what 95 of 100 have at most, "
            "reckoned between 64 KiB and four times as much, and so on.",
            BytesIEC,
            query(mean("body_bytes", BY_MODEL), "mean"),
            query(quantile(0.95, "body_bytes", BY_MODEL), "95 %"),
        ),
    ]


def latency() -> Sequence[Built]:
    """How long it took: above as distributions, below as quantiles."""
    shown = (HITS, MISSES, OVERHEAD)
    return [*map(_distribution, shown), *map(_quantiles, shown)]


def _distribution(time: Latency) -> Built:
    return heat(
        f"{time.title}: distribution",
        f"{time.said} Rows are times, columns are moments: the darker, the more requests. Two "
        "bands are two kinds of requests.",
        query(buckets(time.histogram, time.selector)).exemplar(True),
    )


def _quantiles(time: Latency) -> Built:
    lines = ((0.5, "half"), (0.9, "90 %"), (0.99, "99 %"))
    return chart(
        f"{time.title}: quantiles",
        f"{time.said} Half, 90 and 99 of 100 took less than these.",
        Seconds,
        *(query(quantile(q, time.histogram, time.selector), name) for q, name in lines),
    )
