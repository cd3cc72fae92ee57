"""Rows of the dashboard *Service* about what is behind requests: upstream, queue, cache, books."""

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
"""Results of upstream calls that are the upstream's fault, or the network's."""


def upstream() -> Sequence[Built]:
    """What the upstream does with our calls."""
    return [
        chart(
            "Calls by result",
            "Upstream calls a second, by the class of the status or how they broke. 4xx are its "
            "own refusals; 5xx, timeout and failed may have been charged; unsent never was.",
            CountsPerSecond,
            query(_calls("result"), "{{result}}"),
            stacked=True,
        ),
        chart(
            "Calls that broke",
            "Upstream calls that ended in a 5xx, a time-out or a broken connection, of all calls, "
            "by model. Above the line see the runbook, GatewayUpstreamErrors.",
            PercentUnit,
            query(share(_calls("model", BROKEN), _calls("model")), "{{model}}"),
            steps=((0.1, RED),),
        ),
        chart(
            "Upstream time by model",
            "95 of 100 calls were answered within this.",
            Seconds,
            query(quantile(0.95, "upstream_seconds", BY_MODEL, "model"), "{{model}}"),
        ),
        chart(
            "Tried again",
            "Calls a second that were made again since the try before had provably bought "
            "nothing, by what had come of it.",
            CountsPerSecond,
            query(_rate("gateway_upstream_retries_total", "reason"), "{{reason}}"),
        ),
        chart(
            "Our account refused",
            "Calls a second that the upstream refused with 401, 402 or 403: its key is wrong or "
            "has no credit. Nobody but us can mend that: see GatewayUpstreamAccountRefused.",
            CountsPerSecond,
            query(_rate("gateway_upstream_account_refusals_total"), "401, 402, 403"),
            steps=((0.001, RED),),
        ),
        chart(
            "Circuit",
            "1 while a gateway makes no upstream calls but a few to try, since too many in a row "
            "have failed. Hits are served all the same.",
            Short,
            query(f"max by (instance) (gateway_circuit_open{{{JOB}}})", "{{instance}}"),
            stairs=True,
            top=1,
        ),
    ]


def saturation() -> Sequence[Built]:
    """Where requests wait."""
    return [
        chart(
            "Under way",
            "Flights are edits being bought, each for all who ask for it; followers are requests "
            "that share one; calls are what is with the upstream right now.",
            Short,
            query(_gauge("gateway_flights"), "flights"),
            query(_gauge("gateway_followers"), "followers"),
            query(_gauge("gateway_upstream_in_flight"), "calls"),
        ),
        chart(
            "Waiting for a call",
            "Flights that wait for their turn with the upstream. Where this stays above zero, "
            "`[upstream] max_connections` or the upstream's rate is what holds them up.",
            Short,
            query(_gauge("gateway_upstream_queue_waiting"), "waiting"),
        ),
        chart(
            "Time waited for a call",
            "Half, and 95 of 100 calls, waited less than this for their turn.",
            Seconds,
            query(quantile(0.5, "upstream_queue_seconds", JOB), "half"),
            query(quantile(0.95, "upstream_queue_seconds", JOB), "95 %"),
            steps=((30, ORANGE),),
        ),
    ]


def cache() -> Sequence[Built]:
    """What is stored, and where it may run out of room.

    Gateways that share a folder tell the same of it, so nothing is added up here.
    """
    folders = f"by (instance, folder) (gateway_disk_{{}}_bytes{{{{{JOB}}}}})"
    free, size = f"min {folders.format('free')}", f"max {folders.format('size')}"
    return [
        chart(
            "Size of the cache",
            "Bytes of stored results on each gateway's disk, and how many there may be: at the "
            "limit the least recently used make room.",
            BytesIEC,
            query(_each("gateway_cache_bytes"), "{{instance}}"),
            query(f"max(gateway_cache_max_bytes{{{JOB}}})", "limit"),
        ),
        chart(
            "Results stored",
            "How many results each gateway's disk holds.",
            Short,
            query(_each("gateway_cache_entries"), "{{instance}}"),
        ),
        chart(
            "Evicted and damaged",
            "Results a second that made room for others, and that were found damaged and thrown "
            "away. A damaged one is bought again; more than a few point to the disk.",
            CountsPerSecond,
            query(_rate("gateway_cache_evictions_total"), "evicted"),
            query(_rate("gateway_cache_damaged_total"), "damaged"),
        ),
        chart(
            "Age of the oldest result",
            "Where this is well below the `ttl`, results make room before their time: a larger "
            "`max_bytes` would save money.",
            DurationSeconds,
            query(_each("gateway_cache_oldest_entry_age_seconds"), "{{instance}}"),
        ),
        chart(
            "Disk free",
            "What is free of the disk under each folder. Below the line see the runbook, "
            "GatewayDiskNearlyFull.",
            PercentUnit,
            query(f"{free} / {size}", "{{instance}} {{folder}}"),
            steps=((0.1, RED),),
            top=1,
        ),
        chart(
            "Troubles survived",
            "Things an hour that went wrong and were survived, of the five worst parts (the "
            "journal has a line for each); and what the store of results could not do: a miss, no "
            "error.",
            Short,
            query(f"topk(5, {HOUR} * {_rate('gateway_trouble_total', 'part')})", "{{part}}"),
            query(
                f"{HOUR} * {_rate('gateway_cache_failures_total', 'failure')}",
                "results: {{failure}}",
            ),
        ),
    ]


def books() -> Sequence[Built]:
    """What is held, and what is not written yet."""
    return [
        chart(
            "Reservations",
            "Open: money held for calls under way. Unresolved: held for longer than any call can "
            "last, or by a gateway that is gone; see the runbook, GatewayReservationsUnresolved.",
            Short,
            query(f"max(gateway_reservations_open{{{JOB}}})", "open"),
            query(f"max(gateway_reservations_unresolved{{{JOB}}})", "unresolved"),
        ),
        chart(
            "Usage rows that wait",
            "Rows of `gateway usage` that are not in the state yet; they are written in batches, "
            "and wait while the state can't be reached.",
            Short,
            query(_gauge("gateway_usage_rows_waiting"), "rows"),
        ),
        chart(
            "Age of the oldest waiting row",
            "How far `gateway usage` is behind. Money is not: it is in the ledger before an "
            "answer goes out.",
            Seconds,
            query(_each("gateway_usage_lag_seconds"), "{{instance}}"),
            steps=((60, ORANGE),),
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
