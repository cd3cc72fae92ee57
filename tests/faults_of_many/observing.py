"""One fault under traffic: what clients saw of it, and what became of the money."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults_of_many.faults import Fault
from tests.faults_of_many.site import GATEWAYS, POOR_BUDGET_NANOS, UPSTREAMS, Site
from tests.support.engines import connected
from tests.support.waiting import until

CLIENTS = 4
CALM_SECONDS = 5.0
"""Normal service: so long, every edit was answered as it should be and every gateway was ready."""
MOST_SECONDS = 120.0
RESOLVED_SECONDS = 90.0
"""By then, what a lost process had reserved is settled."""


@dataclass
class Observed:
    """A row of the table. Money is in nano-dollars, seconds are counted as the page says."""

    fault: Fault
    edits: int
    seen: Counter[str]
    """Answers that were not as they should be."""
    is_normal: bool
    troubled_seconds: float
    """From the first wrong answer to the last."""
    normal_seconds: float
    """From the end of the fault to the last wrong answer."""
    estimated: int
    """What the ledger had more than the upstreams' bills, before it was reconciled with them."""
    difference: int
    """The same, once it was."""
    unbooked_calls: int
    """Calls of which the ledger had less than was billed, before it was reconciled."""
    overspent: int
    bought_again: int
    """Calls for edits that had been billed before."""
    held: int
    """What was still reserved."""


class Clients:
    """Four processes that ask for edits until the block ends."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._processes: list[subprocess.Popen[bytes]] = []

    def order(self, row: str, *, paused: bool, pause_seconds: float = 0.5) -> None:
        orders = {"row": row, "paused": paused, "pause_seconds": pause_seconds}
        new = self._site.orders.with_suffix(".new")
        new.write_text(json.dumps(orders))
        new.replace(self._site.orders)

    def start(self) -> None:
        for number in range(CLIENTS):
            out = self._site.folder / f"client{number}.jsonl"
            out.touch()
            log = (self._site.folder / f"client{number}.log").open("ab")
            command: list[str | Path] = [
                sys.executable, "-m", f"{__package__}.traffic", self._site.url,
                self._site.folder / "fullchain.pem", str(number), self._site.orders, out,
            ]  # fmt: skip
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(70)

    def answers(self, row: str) -> list[dict[str, Any]]:
        return [line for line in self._lines(row) if "seen" in line]

    def are_idle(self, row: str) -> bool:
        """Every request of that row was answered, or its client gave up."""
        lines = self._lines(row)
        return len(lines) == 2 * sum("seen" in line for line in lines)

    def _lines(self, row: str) -> list[dict[str, Any]]:
        found = []
        for number in range(CLIENTS):
            text = (self._site.folder / f"client{number}.jsonl").read_text()
            found += [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [line for line in found if line["row"] == row]


@contextmanager
def clients(site: Site) -> Iterator[Clients]:
    made = Clients(site)
    made.order("none", paused=True)
    made.start()
    try:
        yield made
    finally:
        made.stop()


_EXPECTED = {
    "refused": ("401 invalid_api_key",),
    "poor": ("200", "429 insufficient_quota", "429 budget_held"),
}


def is_wrong(line: Mapping[str, Any]) -> bool:
    return line["seen"] not in _EXPECTED.get(line["kind"], ("200",))


@dataclass(frozen=True)
class _Inflicted:
    fault: Fault
    row: str
    begun: float
    ended: float
    is_normal: bool
    bought_again_before: int


def observe(site: Site, clients: Clients, fault: Fault, row: str, edits: int) -> Observed:
    """Inflict it under traffic, wait until all is normal again, and count."""
    fault.prepare(site)
    bought_again_before = _bought_again(site)
    site.new_poor_team(row)
    time.sleep(2)  # until every gateway knows its key
    clients.order(row, paused=False)
    until(lambda: len(clients.answers(row)) >= min(30, edits // 2), 60)
    begun = time.time()
    with fault.inflicted(site):
        time.sleep(fault.seconds)
    ended = time.time() if fault.seconds else begun

    def is_normal() -> bool:
        lines = clients.answers(row)
        last = max((line["ended"] for line in lines if is_wrong(line)), default=begun)
        is_calm = time.time() - max(last, ended) > CALM_SECONDS
        return is_calm and len(lines) >= edits and all(site.is_ready(name) for name in GATEWAYS)

    give_up = time.monotonic() + MOST_SECONDS
    while not (normal := is_normal()) and time.monotonic() < give_up:
        time.sleep(0.5)
    clients.order(row, paused=True)
    until(lambda: clients.are_idle(row) and not _in_flight(site), 90)
    fault.restore(site)
    give_up = time.monotonic() + RESOLVED_SECONDS
    while _held(site) and time.monotonic() < give_up:
        time.sleep(0.5)
    inflicted = _Inflicted(fault, row, begun, ended, normal, bought_again_before)
    return _counted(site, clients.answers(row), inflicted)


def _counted(site: Site, lines: Sequence[Mapping[str, Any]], row: _Inflicted) -> Observed:
    wrong = [line for line in lines if is_wrong(line)]
    bad = [line["ended"] for line in wrong if line["ended"] > row.begun]
    bills, booked = _bills(site), _booked(site)
    billed = sum(bills.values())
    for upstream in UPSTREAMS:
        _reconcile(site, upstream)
    return Observed(
        row.fault,
        edits=len(lines),
        seen=Counter(line["seen"] for line in wrong),
        is_normal=row.is_normal,
        troubled_seconds=max(bad) - min(bad) if bad else 0.0,
        normal_seconds=max(0.0, max(bad, default=0.0) - row.ended),
        estimated=sum(booked.values()) - billed,
        difference=sum(_booked(site).values()) - billed,
        unbooked_calls=sum(booked.get(name, 0) < cost for name, cost in bills.items()),
        overspent=_overspent(site, row.row),
        bought_again=_bought_again(site) - row.bought_again_before,
        held=_held(site),
    )


def _in_flight(site: Site) -> int:
    stats = [site.http.get(f"{site.upstream(name)}/emulator/stats").json() for name in UPSTREAMS]
    return sum(each["in_flight"] for each in stats)


def _bills(site: Site) -> Mapping[str, int]:
    """What was billed for each request of a gateway."""
    found: Counter[str] = Counter()
    for name in UPSTREAMS:
        for line in site.http.get(f"{site.upstream(name)}/emulator/statement").json():
            found[line["client_request_id"]] += line["cost_nanos"]
    return found


def _bought_again(site: Site) -> int:
    """How many calls were billed for edits that had been billed before."""
    bills = _bills(site)
    edits = [
        prompt
        for name in UPSTREAMS
        for request_id, prompt in site.http.get(f"{site.upstream(name)}/edits").json().items()
        if request_id in bills
    ]
    return len(edits) - len(set(edits))


def _fetch(site: Site, sql: str, *values: object) -> Sequence[Any]:
    url = site.servers[site.primary].url
    return list(connected(url, lambda connection: connection.fetch(sql, *values)))


def _booked(site: Site) -> Mapping[str, int]:
    rows = _fetch(site, "SELECT request_id, SUM(cost_nanos)::bigint AS cost FROM ledger GROUP BY 1")
    return {row["request_id"]: row["cost"] for row in rows}


def _held(site: Site) -> int:
    (row,) = _fetch(
        site, "SELECT COALESCE(SUM(ceiling_nanos), 0)::bigint AS held FROM reservations"
    )
    return int(row["held"])


def _overspent(site: Site, team: str) -> int:
    sql = "SELECT COALESCE(SUM(cost_nanos), 0)::bigint AS spent FROM ledger WHERE team = $1"
    (row,) = _fetch(site, sql, team)
    return max(0, int(row["spent"]) - POOR_BUDGET_NANOS)


def _reconcile(site: Site, upstream: str) -> None:
    """As finance does it, by the command, with the upstream's statement of this month."""
    text = site.http.get(f"{site.upstream(upstream)}/emulator/statement?format=csv").text
    if not list(csv.DictReader(io.StringIO(text))):
        return
    file = site.folder / f"{upstream}.csv"
    file.write_text(text)
    command = [
        sys.executable, "-m", "gateway", "ledger", "reconcile", "--config", str(site.config),
        "--statement", str(file), "--upstream", upstream, "--allow-change", "100000",
        "--period", f"{datetime.now(UTC):%Y-%m}", "--edge", "0s", "--json",
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    preview = json.loads(shown.stdout)["preview"]
    done = subprocess.run(
        [*command, "--confirm", preview], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
