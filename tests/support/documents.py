"""The pages of `docs/` that are made of the code; `make docs` writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.emulator import EmulatorServer
from gateway.telemetry.metrics.families import SECTIONS, Family
from gateway.telemetry.metrics.metrics import MOST_KEYS, MOST_NAMES
from tests.support.faults import (
    FAULTS,
    Fault,
    Gateways,
    Seen,
    gateways_of_faults,
    observe,
    page,
    row,
)

DOCS = Path("docs")

METRICS = f"""# The metrics

Made of `gateway/telemetry/metrics/families.py` by `make docs`; a test compares.

`/metrics` answers loopback alone, or whoever has the token of `[metrics] token`. It speaks
Prometheus's text format, and OpenMetrics to a scraper that asks for it.

- **Labels are bounded.** At most {MOST_NAMES} models, {MOST_NAMES} teams and {MOST_KEYS} keys are
  told apart, and every other one is `other`; a model is told apart once the upstream's catalogue
  names it or it has been bought. `outcome` is one of hit, miss, coalesced, refreshed, bypass,
  refused and failed, `route` edits or generations, `code` a code of the refusals.
- **Several workers** (`[server] workers`) are shown as one, whichever is asked: counters and
  histograms add up and outlive a worker that dies; of gauges the sum, least or largest over those
  that live, as the table says. A gauge that is `told` is read of what the processes share.
- **With one worker** requests and costs carry exemplars in OpenMetrics (`request_id`, and the
  request's `trace_id` where there is tracing), and there are the process's own metrics: `process_…`
  (memory, CPU, open files) and `python_…`.
- **Gauges of the state, the results and the disks** are as a process found them last, each
  `[metrics] survey_seconds`; no scrape waits for the state. Where it can't be read they keep their
  last value, and `gateway_state_up` is 0.
- **Dollars** are floats to be drawn. What was spent is in the ledger, exactly: `gateway usage`.
"""


def metrics_page() -> str:
    """`docs/metrics.md`."""
    return METRICS + "".join(_section(title, families) for title, families in SECTIONS)


def _section(title: str, families: tuple[Family, ...]) -> str:
    rows = "".join(_row(family) for family in families)
    return f"\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}"


def _row(family: Family) -> str:
    kind: str = family.kind
    if kind == "gauge":
        kind += f", {(family.merging or 'told').removeprefix('live')}"
    labels = ", ".join(f"`{label}`" for label in family.labels)
    meaning = family.meaning
    if family.buckets:
        meaning += f" Buckets: {_number(family.buckets[0])} to {_number(family.buckets[-1])}."
    return f"| `{family.exposed}` | {kind} | {labels} | {meaning} |\n"


def _number(value: float) -> str:
    return f"{value:.10g}"


PAGES: Mapping[str, Callable[[], str]] = {"metrics.md": metrics_page}
"""Those that are made at once; what is observed is compared where it is (`test_faults.py`)."""


def faults_page() -> str:
    """`docs/faults.md`, of what is observed now; it takes half a minute."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmulatorServer() as emulator,
        gateways_of_faults(Path(folder), emulator) as gateways,
    ):
        return page(row(fault, _observed(fault, gateways, emulator)) for fault in FAULTS)


def _observed(fault: Fault, gateways: Gateways, emulator: EmulatorServer) -> Seen:
    emulator.reset()
    return observe(fault, gateways.of(fault), emulator)


def write() -> None:
    for name, made in {**PAGES, "faults.md": faults_page}.items():
        (DOCS / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    write()
