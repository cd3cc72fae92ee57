"""Every metric of the gateway, one row each: name, labels, meaning.

`docs/metrics.md` is generated from this table. To add a metric, add a row here and use it with
`Metrics.counter`, `gauge`, `histogram` or `set_shared`. The samples of a counter end in `_total`.
Money is in dollars, as floats for charts; the ledger holds the exact amounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Merging = Literal["livesum", "livemin", "livemax"]
"""How the gauges of several workers are combined, over the workers that are alive."""

SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 20, 40, 80, 150, 300),
)
REFERENCES = (0, 1, 2, 3, 5, 8, 14, 16)
BYTES = tuple(float(65536 * 4**power) for power in range(7))


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric. `name` has no `_total`; `section` is its heading in `docs/metrics.md`.

    A gauge with `merging` belongs to each process. A gauge without it is shared: it is read from
    what all processes share, and any process reports it.
    """

    section: str
    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merging: Merging | None = None
    undrawn: str = ""
    """Why it is on no dashboard; empty for one that is."""

    @property
    def exposed(self) -> str:
        """The name for queries; a histogram adds `_bucket`, `_sum` and `_count`."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _counter(section: str, name: str, labels: str, meaning: str, undrawn: str = "") -> Family:
    return Family(section, name, "counter", meaning, tuple(labels.split()), undrawn=undrawn)


def _gauge(section: str, name: str, merging: Merging, meaning: str, labels: str = "") -> Family:
    return Family(section, name, "gauge", meaning, tuple(labels.split()), merging=merging)


def _shared(section: str, name: str, meaning: str, labels: str = "", undrawn: str = "") -> Family:
    return Family(section, name, "gauge", meaning, tuple(labels.split()), undrawn=undrawn)


def _histogram(
    section: str, name: str, labels: str, meaning: str, buckets: tuple[float, ...] = SECONDS
) -> Family:
    return Family(section, name, "histogram", meaning, tuple(labels.split()), buckets)


_R = "Requests"
REQUESTS = _counter(
    _R,
    "gateway_requests",
    "route model team outcome",
    "Requests to the image routes, by outcome.",
)
REFUSALS = _counter(
    _R, "gateway_refusals", "code team", "Refused and failed requests, by error code."
)
CACHE_CONTROL_IGNORED = _counter(
    _R,
    "gateway_cache_control_ignored",
    "directive",
    "Plain `Cache-Control` and `Pragma` headers that would have bought again and were ignored: "
    "no-cache, max-age, pragma.",
)
REQUEST_SECONDS = _histogram(
    _R,
    "gateway_request_seconds",
    "route outcome",
    "Duration of a request, from its head until its answer is ready to be sent.",
)
OVERHEAD_SECONDS = _histogram(
    _R,
    "gateway_overhead_seconds",
    "outcome",
    "Duration of a request less its waiting: for the upstream, an upstream slot, or another "
    "request's flight.",
)
REFERENCE_IMAGES = _histogram(
    _R, "gateway_reference_images", "model", "Reference images of an edit.", REFERENCES
)
BODY_BYTES = _histogram(_R, "gateway_body_bytes", "model", "Size of a request body.", BYTES)

_M = "Money"
_BOOKED = "what these processes have booked; drawn is what the ledger has"
COST = _counter(
    _M,
    "gateway_cost_dollars",
    "team model",
    "Cost that these processes booked for calls, estimates included. Corrections, and what "
    "`ledger resolve` books for a dead process, are in the ledger only.",
    undrawn=_BOOKED,
)
ESTIMATED = _counter(
    _M,
    "gateway_estimated_dollars",
    "team model",
    "The part of the cost that is a ceiling because the upstream stated no cost.",
    undrawn=_BOOKED,
)
SAVED = _counter(
    _M,
    "gateway_saved_dollars",
    "team model cause",
    "Cost avoided by requests that bought nothing: reuse, coalesced, automatic_retry.",
    undrawn=_BOOKED,
)
KEY_COST = _counter(
    _M,
    "gateway_key_cost_dollars",
    "team key",
    "The cost by key id.",
    undrawn=_BOOKED,
)
KEY_SAVED = _counter(
    _M, "gateway_key_saved_dollars", "team key", "The cost avoided, by key.", undrawn=_BOOKED
)
PICTURES = _counter(_M, "gateway_pictures", "team model", "Pictures paid for.", undrawn=_BOOKED)
TOKENS = _counter(
    _M,
    "gateway_tokens",
    "model kind",
    "Tokens that the upstream counted: text_in, image_in, text_out, image_out, and of the input "
    "cached_text_in and cached_image_in.",
    undrawn="what they cost is drawn",
)
OVERRUNS = _counter(
    _M,
    "gateway_overruns",
    "team model",
    "Upstream calls that cost more than their ceiling.",
)
PRICES_UNCONFIRMED = _shared(
    _M,
    "gateway_prices_unconfirmed",
    "Models that are stopped because a picture cost more than 10 times its price.",
)
WARNINGS = _counter(
    _M,
    "gateway_warnings",
    "percent result",
    "Budget thresholds by percentage: passed, and the result of each webhook delivery.",
    undrawn="the budgets themselves are drawn",
)
ALERTS = _counter(
    _M,
    "gateway_alerts",
    "event result",
    "Other alerts by event: raised, and the result of each webhook delivery.",
    undrawn="what they are about is drawn",
)
MAILS = _counter(
    _M,
    "gateway_mails",
    "event result",
    "Mails of alerts and reports by event, and the result of each attempt to send one.",
    undrawn="what they are about is drawn",
)

LEDGER_SPENT = _shared(
    _M,
    "gateway_ledger_spent_dollars",
    "Everything booked in the ledger since its first row, corrections included.",
    "team model",
)
LEDGER_ESTIMATED = _shared(
    _M,
    "gateway_ledger_estimated_dollars",
    "The part of it that is still a ceiling because the upstream stated no cost.",
    "team model",
)
LEDGER_SAVED = _shared(
    _M,
    "gateway_ledger_saved_dollars",
    "Everything saved since the first request, as in `gateway usage`.",
    "team model cause",
)
LEDGER_PICTURES = _shared(
    _M, "gateway_ledger_pictures", "Pictures paid for since the ledger's first row.", "team model"
)
LEDGER_KEY_SPENT = _shared(
    _M, "gateway_ledger_key_spent_dollars", "What the ledger has booked, by key id.", "team key"
)
LEDGER_KEY_SAVED = _shared(
    _M, "gateway_ledger_key_saved_dollars", "What was saved, by key id.", "team key"
)
LEDGER_START = _shared(
    _M,
    "gateway_ledger_first_booking_timestamp_seconds",
    "When the ledger's first row was booked; absent while the ledger is empty.",
)
KEY_INFO = _shared(
    _M, "gateway_key_info", "1, with the name of each key that spent or saved.", "key name"
)

_B = "Budgets"
_BUDGET = "level team period"
"""Only accounts that have a budget; `team` is empty for the organisation."""
BUDGET_LIMIT = _shared(_B, "gateway_budget_limit_dollars", "The budget of a window.", _BUDGET)
BUDGET_SPENT = _shared(
    _B, "gateway_budget_spent_dollars", "The amount spent in the current window.", _BUDGET
)
BUDGET_HELD = _shared(
    _B, "gateway_budget_held_dollars", "The amount reserved by calls in flight.", _BUDGET
)
BUDGET_START = _shared(
    _B,
    "gateway_budget_window_start_timestamp_seconds",
    "Start of the window; absent for a total, which never resets.",
    _BUDGET,
)
BUDGET_END = _shared(
    _B,
    "gateway_budget_window_end_timestamp_seconds",
    "End of the window; absent for a total.",
    _BUDGET,
)

_OF_KEY, _MANY = "team key period", "there may be many; `gateway budgets list` has all"
KEY_BUDGET_LIMIT = _shared(
    _B,
    "gateway_key_budget_limit_dollars",
    "The budget of a key's window, of the first `[metrics] max_key_budgets` keys with a budget.",
    *(_OF_KEY, _MANY),
)
KEY_BUDGET_SPENT = _shared(
    _B, "gateway_key_budget_spent_dollars", "The amount spent in it.", *(_OF_KEY, _MANY)
)
KEY_BUDGET_HELD = _shared(
    _B,
    "gateway_key_budget_held_dollars",
    "The amount reserved by its calls in flight.",
    *(_OF_KEY, _MANY),
)

_U = "Flights and the upstream"
FLIGHTS = _gauge(_U, "gateway_flights", "livesum", "Flights: edits being bought or waited for.")
FOLLOWERS = _gauge(
    _U, "gateway_followers", "livesum", "Requests that wait for another request's flight."
)
UPSTREAM_SECONDS = _histogram(
    _U,
    "gateway_upstream_seconds",
    "upstream model result",
    "Duration of an upstream call, by status class or kind of failure.",
)
UPSTREAM_IN_FLIGHT = _gauge(
    _U, "gateway_upstream_in_flight", "livesum", "Upstream calls in flight.", "upstream"
)
UPSTREAM_RETRIES = _counter(
    _U,
    "gateway_upstream_retries",
    "upstream reason",
    "Repeated upstream calls, after an attempt that bought nothing: unreachable, busy (429), "
    "unavailable (503), key (refused, and another one is configured).",
)
FALLBACKS = _counter(
    _U,
    "gateway_upstream_fallbacks",
    "upstream code",
    "Edits that went on to the model's next target, after this upstream bought nothing: overloaded "
    "(circuit open, queue full), upstream_busy (429, 503), upstream_unreachable, upstream_account.",
)
ACCOUNT_REFUSALS = _counter(
    _U,
    "gateway_upstream_account_refusals",
    "upstream",
    "Upstream calls refused because of the gateway's own account (401, 402, 403).",
)
QUEUE_WAITING = _gauge(
    _U,
    "gateway_upstream_queue_waiting",
    "livesum",
    "Calls that wait for an upstream slot.",
    "upstream",
)
QUEUE_SECONDS = _histogram(
    _U,
    "gateway_upstream_queue_seconds",
    "upstream",
    "Time that a call waited for an upstream slot.",
)
CIRCUIT_OPEN = _gauge(
    _U,
    "gateway_circuit_open",
    "livemax",
    "1 while the upstream's circuit is open or half-open, else 0.",
    "upstream",
)
CIRCUIT_OPENED = _counter(
    _U,
    "gateway_circuit_opened",
    "upstream",
    "Number of times that the circuit opened.",
    undrawn="the gauge `gateway_circuit_open` draws when",
)

_C = "The cache"
CACHE_ENTRIES = _shared(_C, "gateway_cache_entries", "Results on this machine's disk.")
CACHE_BYTES = _shared(_C, "gateway_cache_bytes", "Size of the results on this machine's disk.")
CACHE_MAX_BYTES = _shared(_C, "gateway_cache_max_bytes", "Size limit of these results.")
CACHE_AGE = _shared(
    _C, "gateway_cache_oldest_entry_age_seconds", "Age of the oldest of these results."
)
CACHE_EVICTIONS = _counter(
    _C, "gateway_cache_evictions", "", "Results deleted to make room for others."
)
CACHE_DAMAGED = _counter(_C, "gateway_cache_damaged", "", "Damaged results, which were deleted.")
CACHE_FAILURES = _counter(
    _C,
    "gateway_cache_failures",
    "failure",
    "Failed operations of the result store: timeout, full, too_large, denied, unreachable.",
)

_S = "Disk, state and build"
DISK_FREE = _shared(
    _S,
    "gateway_disk_free_bytes",
    "Free bytes of the file system of the results, the spool, and the state if it is a file.",
    "folder",
)
DISK_SIZE = _shared(_S, "gateway_disk_size_bytes", "The size of that file system.", "folder")
STATE_UP = _gauge(
    _S,
    "gateway_state_up",
    "livemin",
    "1 if every process reads and writes the state, else 0.",
)
STATE_LOG_BYTES = _shared(
    _S, "gateway_state_log_bytes", "The size of SQLite's write-ahead log; absent for PostgreSQL."
)
USAGE_WAITING = _gauge(
    _S, "gateway_usage_rows_waiting", "livesum", "Usage rows not yet written to the state."
)
USAGE_LAG = _gauge(
    _S, "gateway_usage_lag_seconds", "livemax", "Age of the oldest usage row not yet written."
)
RESERVATIONS_OPEN = _shared(
    _S, "gateway_reservations_open", "Open reservations of all processes: money that is held."
)
RESERVATIONS_UNRESOLVED = _shared(
    _S,
    "gateway_reservations_unresolved",
    "Open reservations of a dead process, or older than any call can last.",
)
RECOVERED_FAILURES = _counter(
    _S, "gateway_trouble", "part", "Failures that the gateway recovered from, by part."
)
FAILURE_PARTS = (
    *("announcements", "export", "gallery", "heartbeat", "housekeeping", "kept_inputs"),
    *("keyring", "lease", "links", "mail", "reports", "reserve"),
    *("resolving", "settle", "usage", "usage_lost", "void", "warnings", "webhook", "write again"),
)
"""Values of `part`, besides one for each collector and each background task."""
BUILD = _gauge(_S, "gateway_build_info", "livemax", "1, by version.", "version")

FAMILIES = tuple(value for value in list(globals().values()) if isinstance(value, Family))
SECTIONS = tuple(
    (title, tuple(families)) for title, families in groupby(FAMILIES, lambda row: row.section)
)
