"""What the gateway holds: at rest, under large uploads, and after a long time of mixed traffic."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.benchmarks.peers import Site, start_constant, start_gateway
from tests.benchmarks.processes import Process
from tests.benchmarks.work import BOUNDARY, HEADERS, MB, PATH, Work
from tests.support.bodies import file, form, text

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
"""How long `make test-long` soaks; SOAK_SECONDS=180 is its shortest form."""
MOST_OF_A_START = 4.0
"""The start of a gateway against the import of its libraries alone: 3.4 (measured)."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Process]:
    """A gateway as it is installed, in front of an upstream that answers at once."""
    for name in ("upstream", "gateway"):
        (tmp_path / name).mkdir()
    upstream = start_constant(tmp_path / "upstream")
    gateway = start_gateway(Site(f"{upstream.url}/v1", tmp_path / "gateway"))
    yield gateway
    gateway.stop()
    upstream.stop()


def test_at_rest_it_holds_under_90_mb_and_its_start_takes_little(
    gateway: Process, tmp_path: Path
) -> None:
    assert gateway.memory_bytes() < 90 * MB
    # In seconds of the processor, and by what the same processor takes for its libraries: shared
    # with others, it takes up to twice as long for both. The least of several counts.
    took, libraries = gateway.cpu_seconds(), cpu_seconds_of_libraries()
    for number in range(11):
        if took < MOST_OF_A_START * libraries:
            break
        (tmp_path / str(number)).mkdir()
        again = start_gateway(Site("http://127.0.0.1:9/v1", tmp_path / str(number)))
        took = min(took, again.cpu_seconds())
        libraries = min(libraries, cpu_seconds_of_libraries())
        again.stop()
    assert took < MOST_OF_A_START * libraries


def cpu_seconds_of_libraries() -> float:
    """What a process takes that imports what the gateway is built on, and does nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    libraries = "httpx, jinja2, prometheus_client, pydantic, starlette.applications, uvicorn"
    subprocess.run([sys.executable, "-c", f"import {libraries}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def upload(url: str, body: bytes, nearly: asyncio.Barrier) -> int:
    """Post a body, all but its last kilobyte at first; the status of the answer."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"POST {PATH} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for at in range(0, len(body) - 1024, MB):
        writer.write(body[at : min(at + MB, len(body) - 1024)])
        await writer.drain()
    async with nearly:
        pass
    writer.write(body[-1024:])
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def upload_at_once(gateway: Process, clients: int, body_bytes: int) -> int:
    """So many different uploads, all there at one time; by how much they raised the memory."""
    at_rest = gateway.memory_bytes()
    gateway.forget_peak()
    nearly = asyncio.Barrier(clients)
    bodies = (Work(str(number), 1, body_bytes).body() for number in range(clients))
    statuses = await asyncio.gather(*(upload(gateway.url, body, nearly) for body in bodies))
    assert statuses == [200] * clients
    return gateway.peak_bytes() - at_rest


async def test_uploads_beyond_the_shared_memory_go_to_files(gateway: Process) -> None:
    assert await upload_at_once(gateway, 16, 12 * MB) < 150 * MB


@pytest.mark.long
async def test_64_uploads_of_20_mb_at_once_take_at_most_300_mb(gateway: Process) -> None:
    assert await upload_at_once(gateway, 64, 20 * MB) <= 300 * MB


@pytest.mark.long
async def test_a_minute_after_a_peak_its_memory_is_given_back(gateway: Process) -> None:
    at_rest = gateway.memory_bytes()
    await upload_at_once(gateway, 64, 20 * MB)
    async with asyncio.timeout(120):
        while gateway.memory_bytes() > at_rest + 50 * MB:
            await asyncio.sleep(1)


class Mix:
    """Traffic of every kind, for as long as it is wanted; counts what it has done."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._random = random.Random(1)
        self.done = 0

    async def run(self, until: float) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=60, trust_env=False) as client:
            while time.monotonic() < until:
                await self._random.choice((self._edit, self._edit, self._refused, self._leave))(
                    client
                )
                self.done += 1

    async def _edit(self, client: httpx.AsyncClient) -> None:
        """A hit or a miss."""
        size = self._random.choice((10_000, 200_000, MB, 3 * MB))
        prompt = self._random.choice(("the same", f"another {self._random.random()}"))
        work = Work(f"of {size}", 1, size)
        body = work.body().replace(b"make it grey", prompt.encode())
        answer = await client.post(PATH, content=body, headers=HEADERS)
        assert answer.status_code == 200

    async def _refused(self, client: httpx.AsyncClient) -> None:
        body = form([text("model", "none"), file("image[]", b"no picture")], BOUNDARY)
        answer = await client.post(PATH, content=body, headers=HEADERS)
        assert answer.status_code == 400

    async def _leave(self, client: httpx.AsyncClient) -> None:
        """Gone before the answer, or in the middle of the upload."""
        work = Work("left", 1, 500_000)
        body = work.body().replace(b"make it grey", str(self._random.random()).encode())
        with suppress(httpx.TimeoutException):
            await client.post(PATH, content=body, headers=HEADERS, timeout=0.01)


async def held(gateway: Process, seconds: float) -> float:
    """What it holds on the mean over a time, in MB.

    A moment tells little: uploads of 3 MB that meet by chance raise it by a quarter, and the
    allocator keeps what they leave until it is next asked to give back.
    """
    samples = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        samples.append(gateway.memory_bytes() / MB)
        await asyncio.sleep(0.2)
    return statistics.mean(samples)


@pytest.mark.long
async def test_a_soak_of_mixed_traffic_ends_with_the_memory_of_its_first_minute(
    gateway: Process,
) -> None:
    minutes = max(3, round(SOAK_SECONDS / 60))
    mix = Mix(gateway.url)
    clients = [asyncio.create_task(mix.run(time.monotonic() + 60 * minutes)) for _ in range(6)]
    by_minute = [await held(gateway, 60) for _ in range(minutes)]
    await asyncio.gather(*clients)
    window = max(1, minutes // 3)
    early = statistics.mean(by_minute[1 : 1 + window])  # the first is the way up
    late = statistics.mean(by_minute[-window:])
    assert mix.done > 60 * minutes
    assert late <= 1.05 * early, by_minute
