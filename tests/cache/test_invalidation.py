"""A result that is bought anew or purged goes from every machine's own disk within a second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.cache.tables.invalidation import Replaced, announce
from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.runtime.backends import open_results
from gateway.settings import Settings
from tests.support.buckets import make_bucket, s3_server, url_of
from tests.support.crowds import outcomes
from tests.support.serving import Running, in_state, make_key, serving, settings_for

NO_CACHE = {"x-gateway-cache-control": "no-cache"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


def machine(folder: Path, emulator: EmulatorServer, bucket_url: str, name: str) -> Settings:
    """One of several machines: a disk of its own before a bucket and a state that all share."""
    cache = {"url": bucket_url, "local_folder": str(folder / name)}
    return settings_for(folder, emulator, {"cache": cache})


@pytest.fixture
def machines(
    tmp_path: Path, emulator: EmulatorServer, server: str
) -> Iterator[tuple[Running, Running]]:
    bucket_url = url_of(server, make_bucket(server))
    here, there = (machine(tmp_path, emulator, bucket_url, name) for name in ("here", "there"))
    make_key(here)
    with ExitStack() as stack:
        yield stack.enter_context(serving(here)), stack.enter_context(serving(there))


def within_a_second(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 1.0
    while not true():
        assert time.monotonic() < deadline, "not within a second"
        threading.Event().wait(0.05)


def picture_of(answer: httpx.Response) -> float:
    """What tells one picture of an edit from the next: what it cost whoever bought it."""
    cost = answer.json()["usage"]["cost"]
    return float(cost.get("saved_cost", cost["total_cost"]))


def test_a_refresh_on_one_machine_is_seen_by_all(
    machines: tuple[Running, Running], emulator: EmulatorServer
) -> None:
    here, there = machines
    here.edit()
    assert outcomes([there.edit()]) == {"HIT": 1}
    emulator.order({"cost": "0.02"})
    fresh = here.edit(headers=NO_CACHE)

    within_a_second(lambda: picture_of(there.edit()) == picture_of(fresh))
    assert outcomes([here.edit(), there.edit()]) == {"HIT": 2}
    assert emulator.stats()["calls"] == 2


def test_a_purge_that_is_announced_empties_every_machines_disk_within_a_second(
    machines: tuple[Running, Running], emulator: EmulatorServer
) -> None:
    here, there = machines
    key = here.edit().headers["cache-status"].partition('key="')[2].partition('"')[0]
    assert outcomes([there.edit()]) == {"HIT": 1}
    purge(here, key)

    only = {"cache-control": "only-if-cached"}
    within_a_second(lambda: here.edit(headers=only).status_code == 504)
    within_a_second(lambda: there.edit(headers=only).status_code == 504)
    assert emulator.stats()["calls"] == 1


def purge(gateway: Running, key: str) -> None:
    """As the command does: from outside, the bucket's object first, and then the word."""

    async def run() -> None:
        results = open_results(gateway.settings)
        await results.purge(lambda entry: entry.key == key)
        await results.close()

    asyncio.run(run())
    in_state(gateway.settings, lambda tx: announce(tx, [Replaced(key, now_ms())], now_ms()))


def test_a_machine_that_was_down_meanwhile_serves_nothing_old(
    tmp_path: Path, emulator: EmulatorServer, server: str
) -> None:
    bucket_url = url_of(server, make_bucket(server))
    here, there = (machine(tmp_path, emulator, bucket_url, name) for name in ("here", "there"))
    make_key(here)
    with serving(here) as first, serving(there) as other:
        first.edit()
        assert outcomes([other.edit()]) == {"HIT": 1}
    emulator.order({"cost": "0.02"})
    with serving(here) as first:
        fresh = first.edit(headers=NO_CACHE)
    with serving(there) as other:
        within_a_second(lambda: picture_of(other.edit()) == picture_of(fresh))
    assert emulator.stats()["calls"] == 2
