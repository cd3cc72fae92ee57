"""Every metric of the gateway as data: what it is called, what it says, how it is told apart.

`docs/metrics.md` is made of this table. A counter's samples end in `_total`. Money is in
dollars here, as floats that are read off: the ledger has it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Merging = Literal["livesum", "livemin", "livemax"]
"""How the gauges of several worker processes become one, over those that live."""

SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 20, 40, 80, 150, 300),
)
REFERENCES = (0, 1, 2, 3, 5, 8, 14, 16)
BYTES = tuple(float(65536 * 4**power) for power in range(7))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` is without `_total`.

    `merging` is of a gauge that each process has of its own. A gauge without one is told: each
    process reads it of what they share, and any of them says it for all.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merging: Merging | None = None

    @property
    def exposed(self) -> str:
        """The name that a query uses; a histogram's has `_bucket`, `_sum` and `_count` besides."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _counter(name: str, labels: str, meaning: str) -> Family:
    return Family(name, "counter", meaning, tuple(labels.split()))


def _gauge(name: str, labels: str, merging: Merging | None, meaning: str) -> Family:
    return Family(name, "gauge", meaning, tuple(labels.split()), merging=merging)


def _histogram(name: str, labels: str, buckets: tuple[float, ...], meaning: str) -> Family:
    return Family(name, "histogram", meaning, tuple(labels.split()), buckets)


# --- requests -------------------------------------------------------------------------

REQUESTS = _counter(
    "gateway_requests",
    "route model team outcome",
    "Requests to the image routes, by how they ended.",
)
REFUSALS = _counter(
    "gateway_refusals", "code", "Requests refused or failed, by the code of the error."
)
REQUEST_SECONDS = _histogram(
    "gateway_request_seconds",
    "route outcome",
    SECONDS,
    "Time of a request, from its head until its answer is ready to be sent.",
)
OVERHEAD_SECONDS = _histogram(
    "gateway_overhead_seconds",
    "outcome",
    SECONDS,
    "Time of a request less what it waited: for the upstream, a seat there, or another's flight.",
)
REFERENCE_IMAGES = _histogram(
    "gateway_reference_images", "model", REFERENCES, "Reference images of an edit that was read."
)
BODY_BYTES = _histogram(
    "gateway_body_bytes", "model", BYTES, "Size of the body of a request that was read."
)

# --- money ----------------------------------------------------------------------------

COST = _counter(
    "gateway_cost_dollars",
    "team model",
    "What these processes booked for calls, estimates included; what `ledger resolve` books for a "
    "dead process, and corrections, are in the ledger only.",
)
ESTIMATED = _counter(
    "gateway_estimated_dollars",
    "team model",
    "The part of the cost that is a ceiling, since the upstream stated none.",
)
SAVED = _counter(
    "gateway_saved_dollars",
    "team model cause",
    "What requests that bought nothing would have cost: reuse, coalesced, automatic_retry.",
)
KEY_COST = _counter(
    "gateway_key_cost_dollars", "team key", "The cost by key (its id); beyond 500 keys `other`."
)
KEY_SAVED = _counter("gateway_key_saved_dollars", "team key", "What was saved, by key.")
PICTURES = _counter("gateway_pictures", "team model", "Pictures paid for.")
OVERRUNS = _counter(
    "gateway_overruns",
    "team model",
    "Upstream calls that cost more than the ceiling they were reserved at.",
)
WARNINGS = _counter(
    "gateway_warnings",
    "percent result",
    "Marks of budgets, by percentage: passed, and how posting them to a webhook went.",
)

# --- budgets: only accounts that have one; `team` is empty for the organisation ---------

_BUDGET = "level team period"
BUDGET_LIMIT = _gauge("gateway_budget_limit_dollars", _BUDGET, None, "The budget of a window.")
BUDGET_SPENT = _gauge(
    "gateway_budget_spent_dollars", _BUDGET, None, "What is spent of it in the window now."
)
BUDGET_HELD = _gauge(
    "gateway_budget_held_dollars", _BUDGET, None, "What calls in flight hold of it."
)
BUDGET_START = _gauge(
    "gateway_budget_window_start_timestamp_seconds",
    _BUDGET,
    None,
    "When the window began; none for a total, which never resets.",
)
BUDGET_END = _gauge(
    "gateway_budget_window_end_timestamp_seconds",
    _BUDGET,
    None,
    "When the window ends; none for a total.",
)

# --- flights and the upstream ---------------------------------------------------------

FLIGHTS = _gauge("gateway_flights", "", "livesum", "Edits that are being bought or waited for.")
FOLLOWERS = _gauge(
    "gateway_followers", "", "livesum", "Requests that wait for another request's flight."
)
UPSTREAM_SECONDS = _histogram(
    "gateway_upstream_seconds",
    "model result",
    SECONDS,
    "Time of an upstream call, by the class of its status or how it broke.",
)
UPSTREAM_IN_FLIGHT = _gauge(
    "gateway_upstream_in_flight", "", "livesum", "Upstream calls under way."
)
UPSTREAM_RETRIES = _counter(
    "gateway_upstream_retries",
    "reason",
    "Upstream calls tried again, which had bought nothing: unreachable, busy (429), unavailable "
    "(503), key (it was refused, and there are others).",
)
ACCOUNT_REFUSALS = _counter(
    "gateway_upstream_account_refusals",
    "",
    "Upstream calls refused for the gateway's own account (401, 402, 403).",
)
QUEUE_WAITING = _gauge(
    "gateway_upstream_queue_waiting", "", "livesum", "Calls that wait for a place upstream."
)
QUEUE_SECONDS = _histogram(
    "gateway_upstream_queue_seconds", "", SECONDS, "Time that a call waited for a place upstream."
)
CIRCUIT_OPEN = _gauge(
    "gateway_circuit_open", "", "livemax", "1 while the circuit is open or half-open, else 0."
)
CIRCUIT_OPENED = _counter("gateway_circuit_opened", "", "Times that the circuit opened.")

# --- the cache: this machine's folder, also where a bucket lies behind it ----------------

CACHE_ENTRIES = _gauge(
    "gateway_cache_entries", "", None, "Results in the folder on this machine's disk."
)
CACHE_BYTES = _gauge("gateway_cache_bytes", "", None, "What they take.")
CACHE_MAX_BYTES = _gauge("gateway_cache_max_bytes", "", None, "What they may take.")
CACHE_AGE = _gauge("gateway_cache_oldest_entry_age_seconds", "", None, "Age of the oldest of them.")
CACHE_EVICTIONS = _counter("gateway_cache_evictions", "", "Results that made room for others.")
CACHE_DAMAGED = _counter("gateway_cache_damaged", "", "Results found damaged, and deleted.")
CACHE_FAILURES = _counter(
    "gateway_cache_failures",
    "failure",
    "What the store of results could not do: timeout, full, too_large, denied, unreachable.",
)

# --- disk and state -------------------------------------------------------------------

DISK_FREE = _gauge(
    "gateway_disk_free_bytes",
    "folder",
    None,
    "Free bytes of the file system below results, spool, and state where that is a file.",
)
DISK_SIZE = _gauge("gateway_disk_size_bytes", "folder", None, "The size of that file system.")
STATE_UP = _gauge(
    "gateway_state_up",
    "",
    "livemin",
    "1 where the state was read in the last seconds, 0 where any process could not.",
)
USAGE_WAITING = _gauge(
    "gateway_usage_rows_waiting", "", "livesum", "Usage rows not written to the state yet."
)
USAGE_LAG = _gauge(
    "gateway_usage_lag_seconds", "", "livemax", "Age of the oldest usage row that waits."
)
RESERVATIONS_OPEN = _gauge(
    "gateway_reservations_open", "", None, "Reservations of all processes: money that is held."
)
RESERVATIONS_UNRESOLVED = _gauge(
    "gateway_reservations_unresolved",
    "",
    None,
    "Those of a dead process, or older than any call can last.",
)
TROUBLE = _counter("gateway_trouble", "part", "Things that went wrong and were survived, by part.")
TROUBLED_PARTS = (
    *("announcements", "heartbeat", "housekeeping", "keyring", "lease", "reserve", "resolving"),
    *("settle", "usage", "usage_lost", "void", "warnings", "webhook", "write again"),
)
"""The parts that may be in trouble, besides each survey and each task in the background."""
BUILD = _gauge("gateway_build_info", "version", "livemax", "1, by version.")

SECTIONS: tuple[tuple[str, tuple[Family, ...]], ...] = (
    (
        "Requests",
        (REQUESTS, REFUSALS, REQUEST_SECONDS, OVERHEAD_SECONDS, REFERENCE_IMAGES, BODY_BYTES),
    ),
    ("Money", (COST, ESTIMATED, SAVED, KEY_COST, KEY_SAVED, PICTURES, OVERRUNS, WARNINGS)),
    ("Budgets", (BUDGET_LIMIT, BUDGET_SPENT, BUDGET_HELD, BUDGET_START, BUDGET_END)),
    (
        "Flights and the upstream",
        (
            *(FLIGHTS, FOLLOWERS, UPSTREAM_SECONDS, UPSTREAM_IN_FLIGHT, UPSTREAM_RETRIES),
            *(ACCOUNT_REFUSALS, QUEUE_WAITING, QUEUE_SECONDS, CIRCUIT_OPEN, CIRCUIT_OPENED),
        ),
    ),
    (
        "The cache",
        (
            *(CACHE_ENTRIES, CACHE_BYTES, CACHE_MAX_BYTES, CACHE_AGE),
            *(CACHE_EVICTIONS, CACHE_DAMAGED, CACHE_FAILURES),
        ),
    ),
    (
        "Disk, state and build",
        (
            *(DISK_FREE, DISK_SIZE, STATE_UP, USAGE_WAITING, USAGE_LAG),
            *(RESERVATIONS_OPEN, RESERVATIONS_UNRESOLVED, TROUBLE, BUILD),
        ),
    ),
)
FAMILIES = tuple(family for _, families in SECTIONS for family in families)
