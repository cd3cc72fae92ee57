"""The documents that are made from code and configuration; `make docs` writes them."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gateway.emulator import EmulatorServer
from gateway.telemetry.metrics.families import SECTIONS, Family
from gateway.telemetry.metrics.metrics import MOST_KEYS, MOST_MODELS, MOST_TEAMS
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

METRICS = f"""# Metrics

Made from `gateway/telemetry/metrics/families.py` by `make docs`; a test compares.

`/metrics` answers loopback (as `localhost`, `127.0.0.1` or `[::1]`), or requests with the token of
`[metrics] token`. It serves Prometheus's
text format, and OpenMetrics to a scraper that asks for it.

- **Labels are bounded.** At most {MOST_MODELS} models, {MOST_TEAMS} teams and {MOST_KEYS} keys get
  labels of their own; all others are `other`. `[metrics] max_teams` and `max_keys` change the last
  two. A model gets its label once the upstream's catalogue lists it or it has been bought.
  *Shared* gauges label the names that were booked first (by day, then by name), so their series are
  the same on every gateway and after a restart; gauges of budgets then label teams without a
  booking, by name. On the day that crosses a bound, a new name may take the label of a later one.
  Other metrics label the names that a gateway saw first.
  `outcome` is one of hit, miss, coalesced, refreshed, bypass, refused and failed; `route` is edits
  or generations; `code` is an error code.
- **Several workers** (`[server] workers`) appear as one, whichever of them is scraped. Counters and
  histograms are added up, and keep the counts of a worker that has died. Gauges are the sum, the
  minimum or the maximum over the live workers, as the table says. A *shared* gauge is read from
  data that all processes share.
- **With one worker** requests and costs carry exemplars in OpenMetrics (`request_id`, and with
  tracing `trace_id`), and the metrics of the process itself are included: `process_…` (memory, CPU,
  open files) and `python_…`.
- **Gauges of the state, the results and the disks** are read every `[metrics] survey_seconds`; no
  scrape waits for the state. While they cannot be read they keep their last value, and
  `gateway_state_up` is 0.
- **Dollars** are floats, for charts. The exact amounts are in the ledger: `gateway usage`.
- **Money in charts** is the difference of two readings of `gateway_ledger_…`: sums since the first
  booking, read from the state and equal on every gateway, so take their maximum over instances.
  No restart, kill or missed scrape loses any of it. `increase()` of a counter loses what was
  counted before the first scrape of a series and after the last. Corrections of days before
  yesterday appear within ten minutes.
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
        kind += f", {(family.merging or 'shared').removeprefix('live')}"
    labels = ", ".join(f"`{label}`" for label in family.labels)
    meaning = family.meaning
    if family.buckets:
        meaning += f" Buckets: {_number(family.buckets[0])} to {_number(family.buckets[-1])}."
    return f"| `{family.exposed}` | {kind} | {labels} | {meaning} |\n"


def _number(value: float) -> str:
    return f"{value:.10g}"


SETTINGS = Path("config/gateway.toml")
SETTINGS_HEAD = """# Settings

Made from `config/gateway.toml` by `make docs`; a test compares that file with the code.

The gateway reads one TOML file: `--config FILE`, else the file named by `GATEWAY_CONFIG`, else
`config/gateway.toml` if it exists. A setting that is missing keeps its default. The environment
overrides the file as `GATEWAY_<SECTION>__<NAME>`, for example `GATEWAY_SERVER__PORT=9000`; separate
the items of a list with commas. One of `[upstreams.NAME]` is
`GATEWAY_UPSTREAMS__<NAME>__<SETTING>`, with an underscore for each character of the name that is no
letter or digit: the key of `[upstreams.open-ai]` is `GATEWAY_UPSTREAMS__OPEN_AI__API_KEY`.

An unknown setting is an error that names the one that is likely meant; a variable that nothing
reads, but that reads like a setting's, is a note of `gateway check` and a warning of `serve`.
`gateway init` writes a settings file for one or several upstreams.

Secrets are written as `env:NAME` or `file:PATH`. Sizes are bytes, `"300MB"` or `"2GiB"`; times are
seconds, `"90s"`, `"12h"` or `"30d"`. `gateway check` verifies settings, state, results and
upstream.
"""
_HEADING = re.compile(r"(?:# )?\[(.+?)\]\s*(?:# (.*))?")
_SETTING = re.compile(r"(# )?(\w+) = (.+?)\s*(?:\s# (.*))?")


def settings_page() -> str:
    """`docs/settings.md`: a table for each section, with the file's comments."""
    page = SETTINGS_HEAD
    rows: list[list[str]] = []
    above: list[str] = []
    of_limits = False
    for line in SETTINGS.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.fullmatch(line):
            about = f"\n{heading[2][:1].upper()}{heading[2][1:]}.\n" if heading[2] else ""
            page += f"{_settings_table(rows)}\n## [{heading[1]}]\n{about}"
            rows, above = [], []
            of_limits = heading[1] == "new_team"  # docs/limits.md has them
        elif not of_limits and (setting := _SETTING.fullmatch(line)):
            about = setting[4] or ""
            rows.append([setting[2], "" if setting[1] else setting[3], " ".join([*above, about])])
            above = []
        elif line.startswith("#"):
            above.append(line.removeprefix("#").strip())
        elif line.strip():
            rows[-1][2] += line.strip().removeprefix("#")
    return page + _settings_table(rows)


def _settings_table(rows: Iterable[Sequence[str]]) -> str:
    cells = [f"| `{name}` | {_code(value)} | {about.strip()} |\n" for name, value, about in rows]
    return "".join(["\n| setting | default | meaning |\n|---|---|---|\n", *cells]) if cells else ""


def _code(value: str) -> str:
    return f"`{value}`" if value else "not set"


ARCHITECTURE = Path("ARCHITECTURE.md")
PICTURE = ("<!-- packages: written by `make docs` -->", "<!-- packages: end -->")


def packages_picture() -> str:
    """The packages in the order of the import contract, as Mermaid; each with its inner parts."""
    contracts = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    contract = contracts["tool"]["importlinter"]["contracts"][0]
    layers, apart = contract["layers"], contract["exhaustive_ignores"]
    nodes = "".join(f"  {_node(name)}\n" for name in [*layers, *apart])
    chain = "\n    --> ".join(" --> ".join(layers[at : at + 5]) for at in range(0, len(layers), 5))
    aside = "".join(f"  cli -.-> {name}\n" for name in apart)
    return f"```mermaid\nflowchart TD\n{nodes}  {chain}\n{aside}```"


def _node(name: str) -> str:
    inner = [part for part in ("rules", "tables") if _holds(name, part)]
    return f'{name}["{" · ".join([f"<b>{name}</b>", *inner])}"]'


def _holds(package: str, part: str) -> bool:
    folder = Path("gateway") / package
    return (folder / part).is_dir() or (folder / f"{part}.py").is_file()


def architecture_page() -> str:
    """ARCHITECTURE.md with the picture as the import contracts make it."""
    before, begin, rest = ARCHITECTURE.read_text(encoding="utf-8").partition(PICTURE[0])
    _, end, after = rest.partition(PICTURE[1])
    return f"{before}{begin}\n\n{packages_picture()}\n\n{end}{after}"


PAGES: Mapping[Path, Callable[[], str]] = {
    DOCS / "metrics.md": metrics_page,
    DOCS / "settings.md": settings_page,
    ARCHITECTURE: architecture_page,
}
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


def write(*, observed: bool = True) -> None:
    """Write the pages; without `observed` those alone that need no running gateway."""
    made = {**PAGES, DOCS / "faults.md": faults_page} if observed else PAGES
    for path, make in made.items():
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    write()
