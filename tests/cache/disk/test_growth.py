"""How the disk's results behave when there are many of them, and many processes."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import statistics
import time
from pathlib import Path

import pytest

from gateway.cache.disk import DiskStore
from tests.support.results import SMALL, entry_of, program

pytestmark = pytest.mark.long

log = logging.getLogger(__name__)

PICTURE = os.urandom(1_400_000)
FOREVER = {"expires_ms": 9**15}


async def hit_ms(results: DiskStore, key: str) -> float:
    """How long one hit took."""
    before = time.perf_counter()
    assert await results.get(key)
    return (time.perf_counter() - before) * 1_000


async def fill(results: DiskStore, number: int, pictures: int) -> tuple[list[str], list[str]]:
    """So many results, some of them pictures, the others small; the keys of both."""
    keys: tuple[list[str], list[str]] = ([], [])
    for place in range(number):
        key = f"v1-{place:064x}"
        small = bool(place % (number // pictures)) if pictures else True
        keys[small].append(key)
        body = SMALL if small else PICTURE
        assert await results.put(entry_of(body, key, **FOREVER), body)
    return keys


async def test_a_hit_takes_as_long_among_200_000_results_as_among_1_000(tmp_path: Path) -> None:
    few = DiskStore(tmp_path / "few", 10**10, timeout_seconds=30)
    many = DiskStore(tmp_path / "many", 10**10, timeout_seconds=30)
    few_keys, many_keys = await fill(few, 1_000, 200), await fill(many, 200_000, 200)
    for kind, name in enumerate(("pictures", "small results")):
        pair = ((few, few_keys[kind]), (many, many_keys[kind]))
        rounds: tuple[list[float], list[float]] = ([], [])
        for number in range(20):  # in turns, so that both see the same machine
            for medians, (results, keys) in zip(rounds, pair, strict=True):
                taken = [await hit_ms(results, random.choice(keys)) for _ in range(200)]
                if number >= 5:  # first reads check digests
                    medians.append(statistics.median(taken))
        among_few, among_many = map(statistics.median, rounds)
        log.info("%s: %.3f and %.3f ms", name, among_few, among_many)
        # Small results are read from the index alone, in some 0.02 ms and a hop between
        # threads: there it shows that a large index is not in the processor's cache.
        assert among_many < (2 if kind else 1.2) * among_few
    assert (await many.stats()).entries == 200_000
    await few.close()
    await many.close()


async def test_many_hits_do_not_grow_the_process(tmp_path: Path) -> None:
    results = DiskStore(tmp_path / "cache", 10**10, timeout_seconds=30)
    pictures, small = await fill(results, 20_000, 50)
    for key in random.choices(small, k=5_000) + pictures:
        await hit_ms(results, key)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for key in random.choices(small + pictures, k=40_000):
        await hit_ms(results, key)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    log.info("grown by %d kB", grown_kb)
    await results.close()
    assert grown_kb < 20_000


HIT = """
import json, random, time
from gateway.cache.disk import DiskStore

async def main(folder, hits):
    results = DiskStore(folder, 10**10)
    keys = [entry.key async for entry in results.entries()]
    for key in keys:
        assert await results.get(key)
    print("ready", flush=True)
    sys.stdin.readline()
    await results.start()
    taken = []
    for key in random.choices(keys, k=int(hits)):
        before = time.perf_counter()
        assert await results.get(key)
        taken.append((time.perf_counter() - before) * 1000)
        await asyncio.sleep(0.008)
    print(json.dumps(sorted(taken)))
    await results.close()
"""

PUT = """
import os
from tests.support.results import entry_of
from gateway.cache.disk import DiskStore

async def main(folder, seconds):
    results = DiskStore(folder, 10**10)
    loop = asyncio.get_running_loop()
    end, body, number = loop.time() + float(seconds), os.urandom(1_400_000), 0
    while loop.time() < end:
        number += 1
        key = f"v2-{number % 20}"
        assert await results.put(entry_of(body, key, expires_ms=9**15), body)
        await asyncio.sleep(0.02)
    await results.close()
    print(number)
"""


def hits_of(folder: Path, processes: int) -> list[float]:
    """Sorted times of hits by so many processes at once; each leaves the processors room."""
    running = [program(HIT, folder, 1_500) for _ in range(processes)]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    taken: list[float] = []
    for process in running:
        assert process.stdin
        print("go", file=process.stdin, flush=True)
    for process in running:
        printed, _ = process.communicate(timeout=120)
        taken += json.loads(printed)
    return sorted(taken)


async def test_four_processes_do_not_stand_in_each_others_way(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    results = DiskStore(folder, 10**10)
    for number in range(150):
        await results.put(entry_of(PICTURE, f"v1-{number}", **FOREVER), PICTURE)
    await results.close()
    alone = hits_of(folder, 1)
    together = hits_of(folder, 4)
    putting = program(PUT, folder, 15)
    beside_puts = hits_of(folder, 4)
    putting.communicate(timeout=60)
    for name, taken in (("1", alone), ("4", together), ("4 and 1 storing", beside_puts)):
        found = (at(taken, 0.5), at(taken, 0.99), taken[-1])
        log.info("%s: median %.2f, p99 %.2f, slowest %.1f ms", name, *found)
    assert putting.returncode == 0
    assert at(together, 0.99) < 3 * at(alone, 0.99)
    assert max(together[-1], beside_puts[-1]) < 100


def at(taken: list[float], share: float) -> float:
    return taken[int(len(taken) * share)]


FULL_ROUND = """
import time
from tests.support.results import SMALL, entry_of
from gateway.cache.disk import DiskStore

async def main(folder):
    results = DiskStore(folder, 3_000_000, timeout_seconds=60)
    body = bytes(1_000_000)
    before = time.perf_counter()
    assert await results.put(entry_of(body, "v3-large", expires_ms=9**15), body)
    assert (await results.stats()).bytes <= 3_000_000
    print(f"{time.perf_counter() - before:.2f} s, evicted {results.counts().evicted}")
    await results.close()
"""


async def test_a_put_that_must_evict_thousands_lets_others_hit_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    results = DiskStore(folder, 10**10, timeout_seconds=30)
    _, keys = await fill(results, 20_000, 0)
    process = program(FULL_ROUND, folder)
    slowest = 0.0
    while process.poll() is None:
        before = time.perf_counter()
        await results.get(random.choice(keys))
        slowest = max(slowest, (time.perf_counter() - before) * 1_000)
    assert process.stdout
    log.info("the put: %s; slowest look-up %.1f ms", process.stdout.read().strip(), slowest)
    process.communicate()
    await results.close()
    assert process.returncode == 0
    assert slowest < 100
