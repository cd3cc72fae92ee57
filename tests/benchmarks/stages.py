"""Where the time of one request goes, by the gateway's own account of it, and what the limit is.

One client asks one thing at a time; each answer's `Server-Timing` names the stages. What is in
none of them is the server's, the system's and the client's own.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from blake3 import blake3
from stringzilla import find

from tests.benchmarks.work import BOUNDARY, HEADERS, MARK, MB, PATH, Work

ASKED = 150
WARM_UP = 15
STAGE = re.compile(r"(\w+);dur=([\d.]+)")
WHOLE, REST = "whole", "in none of them"


@dataclass(frozen=True)
class Stages:
    """Median microseconds by stage, and of the whole request as its client sees it."""

    path: str
    microseconds: Mapping[str, float]


def measure(url: str, work: Work, *, unique: bool) -> Stages:
    """Ask `url` again and again."""
    body, taken = work.body(), list[dict[str, float]]()
    with httpx.Client(base_url=url, timeout=60, trust_env=False, headers=HEADERS) as client:
        for number in range(WARM_UP + ASKED):
            sent = body.replace(MARK, f"#{time.time_ns() % 10**8:08d}".encode()) if unique else body
            began = time.perf_counter()
            answer = client.post(PATH, content=sent)
            whole = (time.perf_counter() - began) * 1e6
            answer.raise_for_status()
            if unique or number >= WARM_UP:
                assert answer.headers["x-gateway-cache"] == ("MISS" if unique else "HIT")
            found = STAGE.findall(answer.headers["server-timing"])
            stages = {name: float(ms) * 1e3 for name, ms in found}
            if number >= WARM_UP:
                taken.append({**stages, REST: whole - sum(stages.values()), WHOLE: whole})
    names = list(taken[-1])
    medians = {name: statistics.median(each.get(name, 0.0) for each in taken) for name in names}
    return Stages(f"{'miss' if unique else 'hit'}, {work.name}", medians)


def limits() -> dict[str, float]:
    """Microseconds a megabyte of what an upload can't do without, warm and at its quickest."""
    data = random.Random(1).randbytes(MB)
    delimiter = b"\r\n--" + BOUNDARY.encode()
    return {
        "copying it once": _quickest(lambda: bytearray(data)),
        "hashing it (BLAKE3)": _quickest(lambda: blake3(data).digest()),
        "looking for the boundary": _quickest(lambda: find(data, delimiter)),
    }


def _quickest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(30):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds) * 1e6


def markdown(measured: list[Stages], limit: Mapping[str, float], told: str) -> str:
    """The tables, with `told` saying where and when."""
    names = list(dict.fromkeys(name for each in measured for name in each.microseconds))
    names.sort(key=lambda name: (name == WHOLE, name == REST))
    lines = [
        f"Median microseconds of one request at a time, {told}:",
        "",
        f"| | {' | '.join(each.path for each in measured)} |",
        f"|---|{'--:|' * len(measured)}",
    ]
    for name in names:
        cells = (each.microseconds.get(name) for each in measured)
        shown = " | ".join("" if cell is None else f"{cell:,.0f}" for cell in cells)
        lines.append(f"| {name} | {shown} |")
    lines += ["", "The limit, microseconds a megabyte at the quickest:", ""]
    lines += [f"- {name}: {microseconds:,.0f}" for name, microseconds in limit.items()]
    return "\n".join(lines)
