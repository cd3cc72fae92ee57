"""How the disk's results behave when there are many of them, and many processes."""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.edges.disk import DiskResults
from tests.edges.results import SMALL, entry_of, program

pytestmark = pytest.mark.long

PICTURE = os.urandom(1_400_000)
FOREVER = {"expires_ms": 9**15}


async def hits_ms(results: DiskResults, keys: Sequence[str], number: int) -> list[float]:
    """How long each of so many hits took, sorted."""
    taken = []
    for key in random.choices(keys, k=number):
        before = time.perf_counter()
        assert await results.get(key)
        taken.append((time.perf_counter() - before) * 1_000)
    return sorted(taken)


async def fill(results: DiskResults, start: int, stop: int) -> list[str]:
    """Small results, and a picture among every 700 of them; the pictures' keys."""
    pictures = []
    for number in range(start, stop):
        key = f"v1-{number:064x}"
        if number % 700 == 0:
            pictures.append(key)
        body = PICTURE if number % 700 == 0 else SMALL
        assert await results.put(entry_of(body, key, **FOREVER), body)
    return pictures


async def test_a_hit_takes_as_long_among_200_000_results_as_among_1_000(tmp_path: Path) -> None:
    few = DiskResults(tmp_path / "few", 10**10, timeout_seconds=30)
    many = DiskResults(tmp_path / "many", 10**10, timeout_seconds=30)
    few_keys = await fill(few, 0, 1_000)
    many_keys = await fill(many, 0, 200_000)
    for results, keys in ((few, few_keys), (many, many_keys)):
        await hits_ms(results, keys, 2_000)  # first reads check digests
    medians: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(7):  # in turns, so that both see the same machine
        medians["few"].append(statistics.median(await hits_ms(few, few_keys, 500)))
        medians["many"].append(statistics.median(await hits_ms(many, many_keys, 500)))
    ratio = statistics.median(medians["many"]) / statistics.median(medians["few"])
    stats = await many.stats()
    print(f"\n{medians}\nratio {ratio:.3f}, {stats}")
    await few.close()
    await many.close()
    assert stats.entries == 200_000
    assert ratio < 1.2


async def test_many_hits_do_not_grow_the_process(tmp_path: Path) -> None:
    results = DiskResults(tmp_path / "cache", 10**10, timeout_seconds=30)
    await fill(results, 0, 20_000)
    keys = [f"v1-{number:064x}" for number in range(20_000)]
    await hits_ms(results, keys, 5_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await hits_ms(results, keys, 40_000)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"\ngrown by {grown_kb} kB")
    await results.close()
    assert grown_kb < 20_000


HIT = """
import json, random, time
from gateway.edges.disk import DiskResults

async def main(folder, hits):
    results = DiskResults(folder, 10**10)
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
from tests.edges.results import entry_of
from gateway.edges.disk import DiskResults

async def main(folder, seconds):
    results = DiskResults(folder, 10**10)
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
    results = DiskResults(folder, 10**10)
    for number in range(150):
        await results.put(entry_of(PICTURE, f"v1-{number}", **FOREVER), PICTURE)
    await results.close()
    alone = hits_of(folder, 1)
    putting = program(PUT, folder, 20)
    together = hits_of(folder, 4)
    putting.communicate(timeout=60)

    def at(taken: list[float], share: float) -> float:
        return taken[int(len(taken) * share)]

    print(
        f"\nalone: p50 {at(alone, 0.5):.2f}, p99 {at(alone, 0.99):.2f}, max {alone[-1]:.1f} ms;"
        f" four while a fifth stores: p50 {at(together, 0.5):.2f},"
        f" p99 {at(together, 0.99):.2f}, max {together[-1]:.1f} ms"
    )
    assert putting.returncode == 0
    assert at(together, 0.99) < 3 * at(alone, 0.99)
    assert together[-1] < 100


FULL_ROUND = """
import time
from tests.edges.results import SMALL, entry_of
from gateway.edges.disk import DiskResults

async def main(folder):
    results = DiskResults(folder, 3_000_000, timeout_seconds=60)
    body = bytes(1_000_000)
    before = time.perf_counter()
    assert await results.put(entry_of(body, "v3-large", expires_ms=9**15), body)
    assert (await results.stats()).bytes <= 3_000_000
    print(f"{time.perf_counter() - before:.2f} s, evicted {results.counts().evicted}")
    await results.close()
"""


async def test_a_put_that_must_evict_thousands_lets_others_hit_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    results = DiskResults(folder, 10**10, timeout_seconds=30)
    keys = await fill(results, 1, 20_000)
    process = program(FULL_ROUND, folder)
    slowest = 0.0
    while process.poll() is None:
        before = time.perf_counter()
        await results.get(random.choice(keys))
        slowest = max(slowest, (time.perf_counter() - before) * 1_000)
    assert process.stdout
    print(f"\nthe put: {process.stdout.read().strip()}; slowest look-up {slowest:.1f} ms")
    process.communicate()
    await results.close()
    assert process.returncode == 0
    assert slowest < 100
