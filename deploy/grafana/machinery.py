"""Rows of the dashboard *Service* behind the requests: upstream, queue, cache, ledger."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.units import (
    BytesIEC,
    CountsPerSecond,
    DurationSeconds,
    PercentUnit,
    Seconds,
    Short,
)

from deploy.grafana.panels import ORANGE, RED, Built, chart, query
from deploy.grafana.queries import BY_MODEL, HOUR, JOB, RATE, quantile, share, summed

BROKEN = "5xx|timeout|failed|unsent"
"""Results of upstream calls that failed by the upstream's or the network's fault."""


def upstream() -> Sequence[Built]:
    """Upstream calls and their results."""
    return [
        chart(
            "Calls by result",
            "Upstream calls per second, by status class or kind of failure. 4xx: the upstream "
            "refused; 5xx, timeout and failed: possibly charged; unsent: not charged.",
            CountsPerSecond,
            query(_calls("result"), "{{result}}"),
            stacked=True,
        ),
        chart(
            "Failed calls",
            "Share of upstream calls that ended in a 5xx, a time-out or a broken connection, by "
            "model. Above the line see the runbook, GatewayUpstreamErrors.",
            PercentUnit,
            query(share(_calls("model", BROKEN), _calls("model")), "{{model}}"),
            steps=((0.1, RED),),
        ),
        chart(
            "Upstream latency by model",
            "The 95th percentile of the duration of upstream calls.",
            Seconds,
            query(quantile(0.95, "upstream_seconds", BY_MODEL, "model"), "{{model}}"),
        ),
        chart(
            "Upstream retries",
            "Calls per second that were retried because the previous attempt certainly bought "
            "nothing, and edits that went on to the model's next target for that reason.",
            CountsPerSecond,
            query(
                _rate("gateway_upstream_retries_total", "upstream, reason"),
                "{{upstream}}: {{reason}}",
            ),
            query(
                _rate("gateway_upstream_fallbacks_total", "upstream, code"),
                "next target after {{upstream}}: {{code}}",
            ),
        ),
        chart(
            "Account refusals",
            "Calls per second that the upstream refused with 401, 402 or 403: the key is wrong or "
            "has no credit. See the runbook, GatewayUpstreamAccountRefused.",
            CountsPerSecond,
            query(
                _rate("gateway_upstream_account_refusals_total", "upstream"),
                "{{upstream}}: 401, 402, 403",
            ),
            steps=((0.001, RED),),
        ),
        chart(
            "Circuit",
            "1 while a gateway's circuit to an upstream is open: after too many consecutive "
            "failures it makes no calls there except probes. Hits are still served.",
            Short,
            query(
                f"max by (instance, upstream) (gateway_circuit_open{{{JOB}}})",
                "{{instance}}: {{upstream}}",
            ),
            stairs=True,
            top=1,
        ),
    ]


def saturation() -> Sequence[Built]:
    """Where requests queue."""
    return [
        chart(
            "In flight",
            "Flights: edits being bought. Followers: requests that wait for the flight of another "
            "request. Calls: upstream calls in flight.",
            Short,
            query(_gauge("gateway_flights"), "flights"),
            query(_gauge("gateway_followers"), "followers"),
            query(_gauge("gateway_upstream_in_flight"), "calls"),
        ),
        chart(
            "Queue length",
            "Flights that wait for a slot. If this stays above zero, `max_connections` of the "
            "upstream or its speed is the bottleneck.",
            Short,
            query(_gauge("gateway_upstream_queue_waiting"), "waiting"),
        ),
        chart(
            "Queue time",
            "The median and the 95th percentile of the wait for a slot.",
            Seconds,
            query(quantile(0.5, "upstream_queue_seconds", JOB), "median"),
            query(quantile(0.95, "upstream_queue_seconds", JOB), "95 %"),
            steps=((30, ORANGE),),
        ),
    ]


def cache() -> Sequence[Built]:
    """What is stored, and how much room is left.

    Gateways that share a folder report the same values, so nothing is added up here.
    """
    folders = f"by (instance, folder) (gateway_disk_{{}}_bytes{{{{{JOB}}}}})"
    free, size = f"min {folders.format('free')}", f"max {folders.format('size')}"
    return [
        chart(
            "Cache size",
            "Bytes of stored results on each gateway's disk, and the limit, at which the least "
            "recently used results are evicted.",
            BytesIEC,
            query(_each("gateway_cache_bytes"), "{{instance}}"),
            query(f"max(gateway_cache_max_bytes{{{JOB}}})", "limit"),
        ),
        chart(
            "Stored results",
            "Number of results on each gateway's disk.",
            Short,
            query(_each("gateway_cache_entries"), "{{instance}}"),
        ),
        chart(
            "Evicted and damaged",
            "Results per second that were evicted, and that were found damaged and deleted. A "
            "damaged result is bought again; more than a few indicate a failing disk.",
            CountsPerSecond,
            query(_rate("gateway_cache_evictions_total"), "evicted"),
            query(_rate("gateway_cache_damaged_total"), "damaged"),
        ),
        chart(
            "Age of the oldest result",
            "If this is well below the `ttl`, results are evicted early: a larger `max_bytes` "
            "would save money.",
            DurationSeconds,
            query(_each("gateway_cache_oldest_entry_age_seconds"), "{{instance}}"),
        ),
        chart(
            "Disk free",
            "Free share of the disk of each folder. Below the line see the runbook, "
            "GatewayDiskNearlyFull.",
            PercentUnit,
            query(f"{free} / {size}", "{{instance}} {{folder}}"),
            steps=((0.1, RED),),
            top=1,
        ),
        chart(
            "Recovered failures",
            "Failures per hour from which the gateway recovered, of the five parts with most (the "
            "log has a line for each); and failures of the result store, each of which is a miss.",
            Short,
            query(f"topk(5, {HOUR} * {_rate('gateway_trouble_total', 'part')})", "{{part}}"),
            query(
                f"{HOUR} * {_rate('gateway_cache_failures_total', 'failure')}",
                "results: {{failure}}",
            ),
        ),
    ]


def ledger() -> Sequence[Built]:
    """Open reservations, and usage that is not written yet."""
    return [
        chart(
            "Reservations",
            "Open: of calls in flight. Unresolved: older than any call can last, or of a gateway "
            "that has died; see the runbook, GatewayReservationsUnresolved.",
            Short,
            query(f"max(gateway_reservations_open{{{JOB}}})", "open"),
            query(f"max(gateway_reservations_unresolved{{{JOB}}})", "unresolved"),
        ),
        chart(
            "Unwritten usage rows",
            "Rows of `gateway usage` that are not in the state yet. They are written in batches, "
            "and wait while the state cannot be reached.",
            Short,
            query(_gauge("gateway_usage_rows_waiting"), "rows"),
        ),
        chart(
            "Age of the oldest unwritten row",
            "How far `gateway usage` lags behind. The ledger does not lag: costs are booked before "
            "an answer is sent.",
            Seconds,
            query(_each("gateway_usage_lag_seconds"), "{{instance}}"),
            steps=((60, ORANGE),),
        ),
    ]


def notices() -> Sequence[Built]:
    """What somebody should look at some time."""
    return [
        chart(
            "Prices to confirm",
            "Models that are stopped until a person confirms a price: `gateway prices confirm`.",
            Short,
            query(f"max(gateway_prices_unconfirmed{{{JOB}}})", "models"),
        ),
        chart(
            "Size of the state's log",
            "Bytes of SQLite's write-ahead log. A log that keeps growing waits for a long reader.",
            BytesIEC,
            query(_each("gateway_state_log_bytes"), "{{instance}}"),
        ),
        chart(
            "Ignored cache headers",
            "Plain Cache-Control and Pragma headers per second that would have bought again.",
            Short,
            query(_rate("gateway_cache_control_ignored_total", "directive"), "{{directive}}"),
        ),
    ]


def _calls(by: str, results: str = "") -> str:
    only = f', result=~"{results}"' if results else ""
    return summed(f"rate(gateway_upstream_seconds_count{{{BY_MODEL}{only}}}[{RATE}])", by)


def _rate(counter: str, by: str = "") -> str:
    return summed(f"rate({counter}{{{JOB}}}[{RATE}])", by)


def _gauge(name: str) -> str:
    return summed(f"{name}{{{JOB}}}")


def _each(gauge: str) -> str:
    return f"max by (instance) ({gauge}{{{JOB}}})"
