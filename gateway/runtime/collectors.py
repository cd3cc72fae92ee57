"""Looking at how things stand, for the gauges: never on the path of a request or of a scrape.

A glance is at what this process has in memory. A survey asks the state, the results and the
disks, which take their time; whoever asks for the metrics gets what the last one found.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.cache.result_store import StoreStats
from gateway.database.database import Transaction
from gateway.ledger.tables.budget_gauges import Held, budgeted, count_held
from gateway.model.money import NANOS
from gateway.model.reservation import Balance
from gateway.model.windows import day_of, window
from gateway.runtime.container import HEARTBEAT_EXPIRY_MS, Container, longest_flight_ms
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics, families

GLANCE_SECONDS = 1.0

Gauges = dict[tuple[str, ...], float]


def glance(parts: Container) -> None:
    """The gauges of this process's own: what is in memory."""
    metrics, recorder, flights = parts.metrics, parts.recorder, parts.flights
    metrics.flights.set(flights.in_flight)
    metrics.followers.set(flights.followers)
    metrics.usage_waiting.set(recorder.waiting)
    metrics.usage_lag.set(recorder.lag_seconds)
    metrics.state_up.set(parts.state_up)


async def glance_often(parts: Container) -> None:
    """For ever: another process, which may be the one that is asked, sees what was set last."""
    while True:
        glance(parts)
        await asyncio.sleep(GLANCE_SECONDS)


async def survey(parts: Container) -> None:
    """For ever: one part that can't be looked at is a trouble, and keeps no other from it."""
    looks = {"state": _look_at_state, "results": _look_at_results, "disks": _look_at_disks}
    for name in looks:
        parts.metrics.failure.labels(f"survey_{name}")
    while True:
        for name, look in looks.items():
            try:
                await look(parts)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may work
                parts.on_failure(f"survey_{name}", error)
        await asyncio.sleep(parts.settings.metrics.survey_seconds)


# --- the state --------------------------------------------------------------------------


async def _look_at_state(parts: Container) -> None:
    now_ms, zone = parts.clock(), parts.settings.zone
    day = day_of(now_ms, zone)

    async def read(tx: Transaction) -> tuple[Sequence[Balance], Held]:
        return await budgeted(tx, day, zone), await count_held(
            tx,
            now_ms=now_ms,
            longest_flight_ms=longest_flight_ms(parts.settings),
            heartbeat_expiry_ms=HEARTBEAT_EXPIRY_MS,
        )

    balances, held = await parts.database.read(read)
    metrics = parts.metrics
    metrics.tell(families.RESERVATIONS_OPEN, {(): held.number})
    metrics.tell(families.RESERVATIONS_UNRESOLVED, {(): held.unresolved})
    _tell_budgets(metrics, balances)
    starts: Gauges = {}
    ends: Gauges = {}
    for balance in balances:
        of = window(balance.period, day, zone)
        if of.starts_ms is not None and of.resets_ms is not None:
            labels = _labels(metrics, balance)
            starts[labels], ends[labels] = of.starts_ms / 1000, of.resets_ms / 1000
    metrics.tell(families.BUDGET_START, starts)
    metrics.tell(families.BUDGET_END, ends)


def _tell_budgets(metrics: Metrics, balances: Sequence[Balance]) -> None:
    """Those of teams beyond the bound of labels are added up, by their period."""
    limits: dict[tuple[str, ...], int] = {}
    spent: dict[tuple[str, ...], int] = {}
    held: dict[tuple[str, ...], int] = {}
    for balance in balances:
        labels = _labels(metrics, balance)
        limit = balance.account.limits.budget_nanos or 0
        limits[labels] = limits.get(labels, 0) + limit
        spent[labels] = spent.get(labels, 0) + balance.spent_nanos
        held[labels] = held.get(labels, 0) + balance.held_nanos
    metrics.tell(families.BUDGET_LIMIT, _dollars(limits))
    metrics.tell(families.BUDGET_SPENT, _dollars(spent))
    metrics.tell(families.BUDGET_HELD, _dollars(held))


def _labels(metrics: Metrics, balance: Balance) -> tuple[str, str, str]:
    account = balance.account
    team = metrics.team(account.name) if account.level == "team" else ""
    return account.level, team, balance.period


def _dollars(nanos: Mapping[tuple[str, ...], int]) -> Gauges:
    return {labels: amount / NANOS for labels, amount in nanos.items()}


# --- the results and the disks ------------------------------------------------------------


async def _look_at_results(parts: Container) -> None:
    metrics = parts.metrics
    metrics.count_cache(parts.results.counts())
    stats: StoreStats = await parts.results.stats_here()
    metrics.tell(families.CACHE_ENTRIES, {(): stats.entries})
    metrics.tell(families.CACHE_BYTES, {(): stats.bytes})
    metrics.tell(families.CACHE_MAX_BYTES, {(): parts.settings.cache.max_bytes})
    oldest_ms = stats.oldest_ms
    age = None if oldest_ms is None else max(0, parts.clock() - oldest_ms) / 1000
    metrics.tell(families.CACHE_AGE, {} if age is None else {(): age})


async def _look_at_disks(parts: Container) -> None:
    usages = await asyncio.to_thread(
        lambda: {
            name: shutil.disk_usage(_there(path)) for name, path in _folders(parts.settings).items()
        }
    )
    parts.metrics.tell(families.DISK_FREE, {(name,): found.free for name, found in usages.items()})
    parts.metrics.tell(families.DISK_SIZE, {(name,): found.total for name, found in usages.items()})


def _there(folder: Path) -> Path:
    """The folder, or what it will lie in where it is not made yet."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _folders(settings: Settings) -> dict[str, Path]:
    """What lies on this machine's disks; the state only where it is a file."""
    url = settings.cache.url
    on_disk = url.startswith("disk:")
    folders = {
        "results": Path(url.removeprefix("disk:") if on_disk else settings.cache.local_folder),
        "spool": Path(settings.server.spool_folder or tempfile.gettempdir()),
    }
    if settings.state.url.startswith("sqlite:"):
        folders["state"] = Path(settings.state.url.removeprefix("sqlite:")).parent
    return folders
