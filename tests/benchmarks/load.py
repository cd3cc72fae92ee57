"""The two makers of load: wrk with one body over and over, and clients of our own.

wrk sends as fast as the socket takes; real clients write pieces of any size, and ask for
something else each time: that is what `Clients` do, on asyncio and raw sockets.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.benchmarks.work import HEADERS, MARK, PATH

PIECES = (1, 61, 1_448, 16_384, 65_536, 200_000, 700_000)
"""A client writes pieces of these sizes, drawn at random."""


@dataclass(frozen=True)
class Load:
    """What a load of one peer came to."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class LoadFailed(Exception):
    """Some requests were not answered with a 200; the text says how many."""


def wrk(url: str, body: Path, *, connections: int, seconds: int) -> Load:
    """Post `body` over and over on so many connections. Raises LoadFailed."""
    headers = body.with_suffix(".headers")
    headers.write_text("".join(f"{name}: {value}\n" for name, value in HEADERS.items()))
    done = subprocess.run(
        [
            _wrk(), "--threads=1", f"--connections={connections}", f"--duration={seconds}s",
            "--timeout=30s", f"--script={Path(__file__).with_name('wrk.lua')}", url + PATH,
        ],
        env={**os.environ, "BENCH_BODY": str(body), "BENCH_HEADERS": str(headers)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stderr.strip().splitlines()[-1])
    failed = found.pop("failed")
    if failed or not found["requests"]:
        raise LoadFailed(f"{failed} of {found['requests']} requests failed")
    return Load(**found)


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise LoadFailed("wrk is not installed (on Debian: apt-get install wrk)")
    return found


class Clients:
    """Clients that write in pieces of random sizes, each request with a prompt of its own."""

    def __init__(self, body: bytes, *, unique: bool) -> None:
        """With `unique`, no two requests of any `Clients` of one process ask for the same."""
        self._parts = body.split(MARK) if unique else [body]
        self._numbers = count(time.time_ns() % 10**8)
        self._random = random.Random(1)

    def run(self, url: str, *, connections: int, seconds: float) -> Load:
        """Ask on so many connections, again and again on each, once at least. Raises LoadFailed."""
        return asyncio.run(self._run(url, connections, seconds))

    async def _run(self, url: str, connections: int, seconds: float) -> Load:
        host, port = url.removeprefix("http://").split(":")
        latencies: list[float] = []
        began = time.perf_counter()
        until = began + seconds

        async def one() -> None:
            reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
            try:
                latencies.append(await self._ask(reader, writer))
                while time.perf_counter() < until:
                    latencies.append(await self._ask(reader, writer))
            finally:
                writer.close()

        await asyncio.gather(*(one() for _ in range(connections)))
        took = time.perf_counter() - began
        ordered = sorted(latencies)
        return Load(
            len(ordered),
            took,
            statistics.median(ordered) * 1e3,
            ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
        )

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        body = self._body()
        began = time.perf_counter()
        lines = [f"POST {PATH} HTTP/1.1", "host: bench", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in HEADERS.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        rest = memoryview(body)
        while rest:
            size = self._random.choice(PIECES)
            writer.write(rest[:size])
            rest = rest[size:]
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise LoadFailed(head.split(b"\r\n", 1)[0].decode())
        await reader.readexactly(length_of(head))
        return time.perf_counter() - began

    def _body(self) -> bytes:
        if len(self._parts) == 1:
            return self._parts[0]
        return f"#{next(self._numbers) % 10**8:08d}".encode().join(self._parts)


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise LoadFailed("an answer without its length")
